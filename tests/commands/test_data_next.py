"""`lookonce data next` on real images: a list of images to label, or of images with false alarms."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from lookonce.annotations import load_splits, write_samples
from lookonce.darknet.cache import cached_onnx
from lookonce.errors import ConfigError
from lookonce.images import read_image, write_image
from lookonce.metadata import ModelInfo
from lookonce.samples import Sample, SampleSet
from lookonce.seen import Seen, fingerprints
from tests.command_line import invoke
from tests.videos import write_video


@pytest.fixture(scope="module")
def nano(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKONCE_CACHE", str(folder))
        cfg = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
        return cached_onnx(cfg, cfg.with_suffix(".weights"))


@pytest.fixture
def photos(data: Path, tmp_path: Path) -> Path:
    """Write five photographs, and a brighter copy of the first one."""
    folder = tmp_path / "photos"
    for name in ("dog", "eagle", "giraffe", "horses", "person"):
        write_image(folder / f"{name}.png", read_image(data / "photos" / f"{name}.jpg"))
    write_image(folder / "dog 2.png", np.minimum(read_image(folder / "dog.png"), 245) + np.uint8(10))
    return folder


run = partial(invoke, "data", "next")


def names(listed: Path) -> list[str]:
    return [Path(line).name for line in listed.read_text().splitlines()]


def test_the_list_is_read_by_detect(nano: Path, photos: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "next.txt", tmp_path / "next.json"

    result = run(nano, photos, "--count", 3, "--out", out, "--json", summary)

    assert result.exit_code == 0
    assert "3 of 6 images chosen" in result.stdout
    assert len(set(names(out))) == 3
    assert all(Path(line).is_absolute() for line in out.read_text().splitlines())
    tree = json.loads(summary.read_text())
    assert (tree["images"], tree["learned_from"], tree["skipped"]) == (6, 0, [])
    assert [Path(each["file"]).name for each in tree["chosen"]] == names(out)
    assert tree["chosen"][0]["distance"] == 1
    words = ["detect", str(nano), f"@{out}", "--out", str(tmp_path / "out"), "--save", "labelme"]
    assert invoke(*words).exit_code == 0
    assert len(list((tmp_path / "out" / "labelme" / "train").glob("*.json"))) == 3


def test_near_duplicates_are_chosen_once(nano: Path, photos: Path, tmp_path: Path) -> None:
    result = run(nano, photos, "--out", tmp_path / "next.txt")
    assert "5 of 6 images chosen" in result.stdout
    assert "the other images look like one of these" in result.stdout
    assert sum(name.startswith("dog") for name in names(tmp_path / "next.txt")) == 1


def test_images_the_model_has_seen_are_not_chosen(nano: Path, photos: Path, tmp_path: Path) -> None:
    """Images similar to them are not chosen either."""
    model = onnx.load(nano)
    (entry,) = model.metadata_props
    prints = fingerprints([photos / "dog.png", photos / "eagle.png"])
    record = Seen.of_images(prints, [photos / "dog.png"], [photos / "eagle.png"]).record()
    assert record is not None
    info = replace(ModelInfo.from_json(entry.value, "x"), training={"seen": record})
    entry.value = info.to_json()
    onnx.save(model, tmp_path / "own.onnx")

    summary = tmp_path / "next.json"
    result = run(tmp_path / "own.onnx", photos, "--out", tmp_path / "next.txt", "--json", summary)

    assert "not chosen: 2 images that the model has learned from or was validated on" in result.stdout
    tree = json.loads(summary.read_text())
    assert (tree["images"], tree["learned_from"], tree["validated_on"]) == (6, 1, 1)
    assert sorted(names(tmp_path / "next.txt")) == ["giraffe.png", "horses.png", "person.png"]
    empty = run(tmp_path / "own.onnx", "--empty", photos, "--out", tmp_path / "alarms.txt")
    assert "of 4 images" in empty.stdout


def test_an_unreadable_image_is_not_counted_as_seen(nano: Path, photos: Path, tmp_path: Path) -> None:
    broken = photos / "broken.png"
    broken.write_bytes((photos / "dog.png").read_bytes()[:500])
    model = onnx.load(nano)
    (entry,) = model.metadata_props
    record = Seen.of_images(fingerprints([broken]), [broken], []).record()
    assert record is not None
    info = replace(ModelInfo.from_json(entry.value, "x"), training={"seen": record})
    entry.value = info.to_json()
    onnx.save(model, tmp_path / "own.onnx")

    result = run(tmp_path / "own.onnx", photos, "--out", tmp_path / "n.txt", "--json", tmp_path / "j")

    assert "learned from" not in result.stdout
    assert json.loads((tmp_path / "j").read_text())["learned_from"] == 0


@pytest.mark.parametrize("empty", [[], ["--empty"]])
def test_files_with_several_pages_are_named(
    nano: Path, photos: Path, tmp_path: Path, empty: list[str]
) -> None:
    first, second = (Image.open(photos / f"{name}.png") for name in ("eagle", "dog"))
    first.save(photos / "stack.tif", save_all=True, append_images=[second])
    summary = tmp_path / "j"
    result = run(nano, *empty, photos, "--out", tmp_path / "n.txt", "--json", summary)
    assert "only the first frame or page was read: 1, " in result.stdout.replace("\n", " ")
    assert json.loads(summary.read_text())["first_frame_only"] == [str(photos / "stack.tif")]


def test_false_alarms_become_background_images(nano: Path, photos: Path, tmp_path: Path) -> None:
    """The list can be used in a data set YAML unchanged, also with spaces and brackets in the paths."""
    awkward = photos / "a (1), 2.png"
    (photos / "horses.png").rename(awkward)
    out, summary = tmp_path / "lists" / "alarms.txt", tmp_path / "alarms.json"

    result = run(nano, "--empty", photos, "--out", out, "--json", summary, "--conf", 0.3)

    assert "false alarms in 6 of 6 images" in result.stdout
    assert len(names(out)) == 5  # one of the two dogs
    chosen = json.loads(summary.read_text())["chosen"]
    best = [max(alarm["score"] for alarm in each["alarms"]) for each in chosen]
    assert best == sorted(best, reverse=True)
    assert min(best) > 0.3
    box = Sample(photos / "dog.png", np.array([[1, 1, 90, 90]], np.float32), np.zeros(1, np.int64))
    (tmp_path / "own").mkdir()
    write_samples({"train": SampleSet(("cat",), [box], [], "")}, "coco", tmp_path / "mine")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: [mine/train.json, lists/alarms.txt]\n")
    (found,) = load_splits(tmp_path / "data.yaml").values()
    listed = {sample.path.name: len(sample.boxes) for sample in found.samples}
    assert {name for name, boxes in listed.items() if not boxes} >= set(names(out)) - {"dog.png"}
    assert awkward.name in listed
    assert sum(listed.values()) == 1


def test_a_bad_image_is_named(nano: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no image")
    result = run(nano, photos, "--out", tmp_path / "next.txt")
    assert result.exit_code == 1
    assert "skipped: " in result.stdout
    assert "bad.png" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected IMAGES to label, or --empty .*; found neither"),
        (["{photos}", "--empty", "{photos}"], "found both"),
        (["{photos}/clip.mp4"], "expected image files, found .*clip.mp4"),
        (["{photos}", "--out", "{photos}/dog.png"], "dog.png: an input of this run"),
    ],
)
def test_wrong_input_is_refused(
    nano: Path, photos: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    write_video(photos / "clip.mp4", [np.zeros((64, 96, 3), np.uint8)], 25.0)
    photos_of = [word.format(photos=photos) for word in words]
    out = [] if "--out" in words else ["--out", tmp_path / "next.txt"]
    if photos_of[:1] == [str(photos)] and "--out" in words:
        (photos / "clip.mp4").unlink()
    before = (photos / "dog.png").read_bytes()
    with pytest.raises(ConfigError, match=message):
        run(nano, *photos_of, *out)
    assert (photos / "dog.png").read_bytes() == before
    assert not (tmp_path / "next.txt").exists()
