"""Write docs/glossary.md from the glossary of the pages.

    python scripts/glossary.py

A test compares the page with the output of this script.
"""

from pathlib import Path

from lookonce.pages.glossary import GLOSSARY

PAGE = Path(__file__).parents[1] / "docs" / "glossary.md"
HEAD = """# Glossary

The terms used in the reports and in this documentation. In a report, point at a word, tap it, or reach it
with the Tab key to see its meaning.

| word | meaning |
|---|---|
"""


def glossary() -> str:
    """Return the text of the page."""
    return HEAD + "".join(f"| {term} | {text} |\n" for term, text in GLOSSARY.items())


if __name__ == "__main__":
    PAGE.write_text(glossary(), encoding="utf-8")
