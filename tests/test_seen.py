"""Fingerprints of images depend only on the bytes, not on the path, and are in the description of a model."""

import json
from pathlib import Path

import pytest

from lookonce import seen
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.seen import BYTES, Seen, fingerprints


def info(training: dict) -> ModelInfo:
    return ModelInfo("yolov3-tiny", ("cat",), (((10.0, 13.0),),), (16,), (64, 64), training=training)


def test_fingerprints_depend_on_bytes_not_paths(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.jpg", "sub/b.png", "c.jpg")]
    paths[1].parent.mkdir()
    for path, data in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(data)
    done: list[int] = []
    prints = fingerprints([*paths, tmp_path / "missing.jpg"], lambda: done.append(1))
    assert list(prints) == paths
    assert prints[paths[0]] == prints[paths[1]] != prints[paths[2]]
    assert all(len(each) == BYTES for each in prints.values())
    assert len(done) == 4


def test_seen_images_survive_the_description() -> None:
    images = Seen(frozenset({b"abcdef", b"ghijkl"}), frozenset({b"mnopqr"}))
    text = info({"seen": images.record()}).to_json()
    assert Seen.of(ModelInfo.from_json(text, "x").training) == images
    assert Seen.of(info({}).training) == Seen()
    assert len(json.loads(text)["training"]["seen"]["learned"]) == 16  # 8 characters per image


@pytest.mark.parametrize("damaged", ["abc", "abcdefg=", "abcdefg\n", 3])
def test_a_damaged_record_is_refused(damaged: object) -> None:
    text = info({"seen": {"learned": damaged, "held_out": ""}}).to_json()
    with pytest.raises(ModelFileError, match=r"x: the model description is damaged: .*seen"):
        ModelInfo.from_json(text, "x")


def test_a_second_training_keeps_the_record_of_the_first() -> None:
    first = Seen(frozenset({b"aaaaaa"}), frozenset({b"bbbbbb"}))
    second = Seen(frozenset({b"bbbbbb"}), frozenset({b"aaaaaa", b"cccccc"}))
    assert second.after(first) == Seen(frozenset({b"aaaaaa", b"bbbbbb"}), frozenset({b"cccccc"}))


def test_a_very_large_set_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOST", 2)
    images = frozenset({b"aaaaaa", b"bbbbbb"})
    assert Seen(images).record() is not None
    assert Seen(images, frozenset({b"cccccc"})).record() is None
