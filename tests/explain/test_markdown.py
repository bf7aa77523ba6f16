"""Markdown and JSON of an explanation are complete, exact, and safe with hostile names."""

import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.explain import Explainer, Explanation
from lookonce.explain import tables as module
from lookonce.explain.markdown import to_markdown
from lookonce.explain.packing import packed, plain
from lookonce.explain.tables import text
from lookonce.export.source import FloatModel
from lookonce.metadata import OBJECTIVE
from lookonce.samples import Sample
from tests.explain.models import write_model

HOSTILE = ("<script>alert(1)</script>", "a | b\n# c", "\x1b[31m`![x](http://x)`\u202e&amp;")


@pytest.fixture(scope="module")
def explained(nano: Explainer, data: Path) -> Explanation:
    path = data / "photos" / "dog.jpg"
    boxes = np.array([[128, 208, 352, 540], [120, 120, 570, 430], [455, 75, 675, 165]], np.float32)
    return nano(path, Sample(path, boxes, np.array([16, 1, 7])), features=True)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    folder = tmp_path_factory.mktemp("hostile")
    explainer = Explainer.open(write_model(folder, names=HOSTILE), conf=0.5)
    boxes = np.array([[10, 10, 60, 60], [30, 20, 90, 80], [0, 0, 30, 30]], np.float32)
    image = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    found = explainer(image, Sample(Path("p.png"), boxes, np.arange(3)))
    return replace(found, input=replace(found.input, file="x/<b>|`y`\n.png"))


def tables(markdown: str) -> list[list[str]]:
    """Return the lines of each table."""
    blocks, current = [], list[str]()
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            current.append(line)
        elif current:
            blocks.append(current)
            current = []
    return blocks


def columns(line: str) -> int:
    return line.replace("\\|", "").count("|") - 1


def test_every_stage_has_text_formula_and_function(explained: Explanation) -> None:
    markdown = to_markdown(explained)

    for number, words in enumerate(explained.words, start=1):
        assert f"## {number} {words.title}" in markdown
        assert f"`{words.function}` in `{words.path}`" in markdown
        assert all(f"    {line}" in markdown for line in words.formula)
        assert words.text in " ".join(markdown.split())
    assert "- resized: 768 x 576 -> 320 x 240 whole pixels" in markdown
    assert "2,100 predictions" not in markdown
    assert "1,500 predictions" in markdown


def test_an_image_without_truth_ends_with_the_detections(nano: Explainer, data: Path) -> None:
    markdown = to_markdown(nano(data / "photos" / "dog.jpg"))

    assert "## 5 Candidates" in markdown
    assert "## 6" not in markdown
    assert "| dog " in markdown


def test_numbers_match_the_record(explained: Explanation) -> None:
    markdown = to_markdown(explained)
    names = explained.info.names

    for i, (name, score, box) in enumerate(explained.detections):
        line = next(
            line for line in markdown.splitlines() if line.startswith(f"| {i} ") and f"{score:.4f}" in line
        )
        assert name in line
        assert ", ".join(f"{side:.1f}" for side in box) in line
    layers = next(table for table in tables(markdown) if "multiply-adds" in table[0])
    assert len(layers) == 2 + len(explained.layers)
    assert explained.truth is not None
    verdicts = tables(markdown)[-2]
    for each, line in zip(explained.truth.objects, verdicts[2:], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells == [str(each.number), names[each.label], each.verdict.stage, each.verdict.text]


def test_the_training_settings_are_explained(tmp_path: Path) -> None:
    training = {OBJECTIVE: {"assign": {"positive_iou": 0.4}, "loss": {"objectness": "iou"}}}
    found = Explainer.open(write_model(tmp_path, training=training))(
        np.zeros((96, 128, 3), np.uint8),
        Sample(Path("p.png"), np.array([[10, 10, 60, 60]], np.float32), np.array([0])),
    )
    sentences = (
        "The model file records the settings it was trained with; they are used here.",
        "The objectness target of a positive is the IoU of its predicted box with the object,",
        r"Other differences from the classic recipe: assign.positive\_iou=0.4.",
    )

    assert found.truth is not None
    assert found.truth.objects[0].positives[0].reason == "above 0.4"
    markdown = " ".join(to_markdown(found).split())
    assert all(sentence in markdown for sentence in sentences)


def test_long_tables_say_how_many_rows_they_leave_out(
    explained: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    suppressed = np.count_nonzero(explained.nms.suppressed_by >= 0)

    assert f"... and {suppressed - 2} more rows." in to_markdown(explained)
    assert len(next(t for t in tables(to_markdown(explained)) if "by detection" in t[0])) == 4


def test_hostile_names_are_shown_as_text(hostile: Explanation) -> None:
    markdown = to_markdown(hostile)

    assert "\x1b" not in markdown
    assert "\u202e" not in markdown
    assert "<script" not in markdown.replace("\\<", "")
    assert "![x]" not in markdown
    assert markdown.splitlines()[0] == "# \\<b\\>\\|\\`y\\` .png through yolov3-tiny"
    assert [line for line in markdown.splitlines() if line.startswith("#")] == [
        markdown.splitlines()[0],
        *(f"## {number} {words.title}" for number, words in enumerate(hostile.words, start=1)),
    ]
    for table in tables(markdown):
        assert {columns(line) for line in table} == {columns(table[0])}
    assert hostile.truth is not None
    for name in HOSTILE:  # each belongs to an object
        assert text(name) in markdown
    assert text(HOSTILE[1]) == "a \\| b \\# c"


def test_hostile_names_are_unchanged_in_json(hostile: Explanation) -> None:
    written = json.dumps(hostile.to_dict(), allow_nan=False)

    assert json.loads(written)["info"]["names"] == list(HOSTILE)
    assert "\n" not in written


def array(packed_array: dict[str, Any]) -> np.ndarray:
    flat = np.frombuffer(b64decode(packed_array["base64"]), np.dtype(packed_array["dtype"]).newbyteorder("<"))
    return flat.reshape(packed_array["shape"])


def test_json_holds_every_number_exactly(explained: Explanation) -> None:
    found = json.loads(json.dumps(explained.to_dict(), allow_nan=False))

    assert found["format_version"] == 1
    assert list(found) == [
        "format_version", "model", "info", "input", "layers", "timing", "features", "scales", "candidates",
        "nms", "truth", "words",
    ]  # fmt: skip
    for written, scale in zip(found["scales"], explained.scales, strict=True):
        np.testing.assert_array_equal(array(written["raw"]), scale.raw)
        np.testing.assert_array_equal(array(written["boxes"]), scale.boxes)
        assert "probabilities" not in written
    np.testing.assert_array_equal(array(found["candidates"]["positions"]), explained.candidates.positions)
    np.testing.assert_array_equal(array(found["nms"]["kept"]), explained.nms.kept)
    assert array(found["features"][0]["tiles"]).dtype == np.uint8
    assert "image" not in found["input"]
    assert found["input"]["pads"] == [0, 40, 0, 40]
    assert found["truth"]["objects"][0]["verdict"]["stage"] == "found"
    assert found["words"][0]["path"] == "src/lookonce/geometry/letterbox.py"


def test_values_outside_json_become_null_or_an_error() -> None:
    assert plain((float("nan"), float("inf"), 1.5, None)) == [None, None, 1.5, None]
    with pytest.raises(TypeError, match="expected a record, found complex"):
        plain(1j)
    with pytest.raises(TypeError, match="found type"):
        plain(FloatModel)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([[1, -2], [3, 4]], np.int64), "int32"),
        (np.array([0.1, np.inf], np.float64), "float32"),
        (np.array([True, False]), "uint8"),
        (np.arange(6, dtype=np.uint8).reshape(2, 3).T, "uint8"),
        (np.zeros((0, 4), np.float32), "float32"),
    ],
)
def test_packed_arrays_keep_values_and_shape(values: np.ndarray, kind: str) -> None:
    found = packed(values)

    assert found["dtype"] == kind
    assert found["shape"] == list(values.shape)
    np.testing.assert_array_equal(array(found), values.astype(kind))


def test_text_is_escaped_and_spaces_are_collapsed() -> None:
    assert text("plain name_1.jpg") == "plain name\\_1.jpg"
    assert text("  a\r\n\tb ") == "a b"
    assert text("Straße 犬") == "Straße 犬"
