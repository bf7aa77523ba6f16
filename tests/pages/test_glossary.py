"""The glossary of the pages is that of the documentation."""

import pytest

from lookonce.pages.glossary import GLOSSARY, GlossaryTerms
from scripts.glossary import PAGE, glossary


def test_the_documented_glossary_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == glossary()


def test_words_are_in_alphabetical_order_and_explained() -> None:
    assert list(GLOSSARY) == sorted(GLOSSARY, key=str.lower)
    for term, text in GLOSSARY.items():
        assert text[0].isupper(), term
        assert text.endswith("."), term
        assert "|" not in text, term


def test_a_term_links_to_its_explanation_and_is_listed_once() -> None:
    terms = GlossaryTerms()
    link = terms("ground truth", "annotated <boxes>")
    terms("ground truth")
    assert link == (
        '<a class="term" href="#word-ground-truth" aria-describedby="word-ground-truth">'
        "annotated &lt;boxes&gt;</a>"
    )
    assert terms.used() == [("word-ground-truth", "ground truth", GLOSSARY["ground truth"])]
    with pytest.raises(KeyError):
        terms("mystery")
