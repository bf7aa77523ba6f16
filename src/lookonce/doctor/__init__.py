"""Check annotated images for `lookonce data check`: what is wrong with them, and what to do about it.

the readers' problems ─┐
images, read once ───┤
their copies ──────────┼─► Finding, each of a kind that `kinds` explains ─► Diagnosis
boxes, classes ────────┤
anchors, cells ─────────┘
"""
