"""The doctor finds defects in annotated images, and advises on each.

the readers' problems ─┐
images, read once ───┤
their copies ──────────┼─► Finding, each of a kind that `kinds` explains ─► Diagnosis
boxes, classes ────────┤
anchors, cells ─────────┘
"""
