"""The doctor: finds what is wrong with annotated images, and says what to do about it.

the readers' problems ─┐
images, read once ───┤
their copies ──────────┼─► Finding, each of a kind that `kinds` explains ─► Diagnosis
boxes, classes ────────┤
anchors, cells ─────────┘
"""
