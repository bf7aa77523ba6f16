"""The doctor: what is wrong with annotated images, found without a network.

the readers' problems ─┐
images, read once ───┤
their copies ──────────┼─► Finding, each of a kind that `kinds` explains ─► Diagnosis
boxes, classes ────────┤
anchors, cells ─────────┘
"""
