"""The same scene in 8, 12 and 16 bits gives the same detections in every command and engine."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from lookonce import Detector
from lookonce.images import read_image, write_image
from lookonce.metadata import ModelInfo
from lookonce.recipe import load_settings
from lookonce.samples import Sample
from tests.command_line import output_of

PHOTO = next(iter(sorted((Path(__file__).parents[1] / "data" / "photos").glob("*.jpg"))))
DEPTHS = {"8": 255, "10": 1023, "12": 4095, "16": 65_535}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a folder per bit depth, with a dark and a bright image, which only together show the range."""
    scene = read_image(PHOTO).astype(np.float64)
    made = {}
    for depth, top in DEPTHS.items():
        made[depth] = tmp_path_factory.mktemp(depth)
        for name, share in (("dark", 0.2), ("usual", 1.0)):
            pixels = np.round(np.round(scene * share) * top / 255)
            write_image(made[depth] / f"{name}.png", pixels.astype(np.uint8 if depth == "8" else np.uint16))
    return made


def test_detect_finds_the_same_at_every_depth(folders: dict[str, Path], tmp_path: Path) -> None:
    found = {}
    for depth, folder in folders.items():
        said = output_of(
            "detect", "coco", folder, "--out", tmp_path / depth, "--conf", "0.1", "--save", "json"
        )
        assert (f"0 to {DEPTHS[depth]} become 0 to 255 (measured on 2 of them)" in said) is (depth != "8")
        images = json.loads((tmp_path / depth / "detections.json").read_text())["images"]
        found[depth] = [each["detections"] for each in images]
    assert any(found["8"])
    assert found["8"] == found["10"] == found["12"] == found["16"]


def test_the_range_of_the_model_is_used_for_every_kind_of_input(folders: dict[str, Path]) -> None:
    """A model trained on 12 bits reads the dark image as dark, although that image uses only 10 bits."""
    with Detector.open("coco", conf=0.1) as detector:
        wanted = detector(folders["8"] / "dark.png")
        alone = detector(folders["12"] / "dark.png")  # with a range of its own, it is brighter
        detector.info = replace(detector.info, values=(0.0, 4095.0))
        path = folders["12"] / "dark.png"
        for image in (path, path.read_bytes(), BytesIO(path.read_bytes())):
            found = detector(image)
            np.testing.assert_array_equal(found.boxes, wanted.boxes)
            np.testing.assert_array_equal(found.scores, wanted.scores)
        assert not np.array_equal(alone.scores, wanted.scores)


def test_explain_reads_the_same_pixels_at_every_depth(folders: dict[str, Path]) -> None:
    from lookonce.explain.explainer import Explainer

    explainer = Explainer.open("coco")
    found = [explainer(folders[depth] / "usual.png").input.pixels.tolist() for depth in ("8", "12", "16")]
    assert found[0] == found[1] == found[2]


def test_training_measures_the_range_and_the_model_keeps_it(folders: dict[str, Path]) -> None:
    pytest.importorskip("torch")
    from lookonce.data.cache import ImageCache
    from lookonce.train.setup import TrainData, describe

    box = np.array([[5, 5, 50, 50]], np.float32)
    samples = [Sample(path, box, np.array([0])) for path in sorted(folders["12"].iterdir())]
    data = TrainData(("cat",), samples, [])
    info = describe(data, load_settings(None, ()))
    assert info.values == (0, 4095)
    assert ModelInfo.from_json(info.to_json(), "m").values == info.values
    assert describe(data, load_settings(None, ("values=[10,3000]",))).values == (10, 3000)
    eight = [Sample(path, box, np.array([0])) for path in folders["8"].iterdir()]
    assert describe(TrainData(("cat",), eight, []), load_settings(None, ())).values is None
    cache = ImageCache(values=info.values)
    for path in folders["12"].iterdir():
        np.testing.assert_array_equal(cache.read(path), read_image(folders["8"] / path.name))
