"""The doctor: what is wrong with annotated pictures, found without a network.

the readers' problems ─┐
pictures, read once ───┤
their copies ──────────┼─► Finding, each of a kind that `kinds` explains ─► Diagnosis
boxes, classes ────────┤
priors, cells ─────────┘
"""
