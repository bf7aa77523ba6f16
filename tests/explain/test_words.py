"""Descriptions of the stages: every named function exists in the named file."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from lookonce.explain.words import stage_words
from lookonce.networks import NETWORKS

REPOSITORY = Path(__file__).resolve().parents[2]


def named(function: str) -> object:
    """Return the object with a dotted name."""
    parts = function.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: object = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(function)


@pytest.mark.parametrize("architecture", [*NETWORKS, "darknet"])
def test_every_named_function_is_in_its_named_file(architecture: str) -> None:
    for words in stage_words(architecture):
        function = named(words.function)
        assert callable(function), words.function
        assert Path(inspect.getfile(function)) == REPOSITORY / words.path


def test_each_network_has_its_own_function() -> None:
    functions = {name: stage_words(name)[1].function for name in ("yolov3", "yolov3-tiny", "darknet")}

    assert functions == {
        "yolov3": "lookonce.model.yolov3.YOLOv3.forward",
        "yolov3-tiny": "lookonce.model.tiny.YOLOv3Tiny.forward",
        "darknet": "lookonce.darknet.onnx_graph.build_onnx",
    }


def test_stages_are_described_in_order_in_a_few_sentences() -> None:
    found = stage_words("yolov3")

    assert [words.stage for words in found] == [
        "input", "network", "heads", "decode", "nms", "assignment", "losses", "verdicts",
    ]  # fmt: skip
    for words in found:
        assert 2 <= words.text.count(". ") + words.text.count("? ") + 1 <= 4, words.stage
        assert words.formula
        assert words.title
