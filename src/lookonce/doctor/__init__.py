"""Find defects in annotated images, explain them, and suggest remedies, for `lookonce data check`.

problems of readers ───┐
image files ───────────┤
duplicate images ──────┼─► Finding, each of a kind that `kinds` explains ─► Diagnosis
boxes, classes ────────┤
anchors, cells ────────┘
"""
