"""Models and videos of users, through the whole command: one test per kind of bug report.

Each case was a public bug report about a detector. The files are small and written here, and the numbers are
compared with OpenCV or with an ordinary file of the same content.
"""

import io
import json
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lookonce import Detector
from lookonce.cli import app
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import write_weights
from lookonce.errors import LookonceError
from tests.darknet import test_sections
from tests.darknet.kinds import KINDS
from tests.darknet.oracle import needs_opencv_importer, random_weights
from tests.videos import write_video

FLOOR = 0.21  # OpenCV drops class scores below 0.2


def write_darknet(cfg: Path, text: str, weights: str = "", names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write a model with random weights."""
    network = resolve(parse_cfg(text, cfg.name))
    cfg.write_text(text)
    write_weights(cfg.with_name(weights) if weights else cfg.with_suffix(".weights"), random_weights(network))
    cfg.with_suffix(".names").write_text("\n".join(names[: network.classes]))
    return cfg


def noise(height: int = 96, width: int = 64, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    cv2.imwrite(str(tmp_path / "image.png"), noise()[..., ::-1])
    return tmp_path


def detect(model: Path, *words: object) -> tuple[Result, dict[str, Any]]:
    out = model.parent / "out"
    given = ["detect", model, *words, "--out", out, "--save", "json", "--conf", "0.01", "--force"]
    result = CliRunner().invoke(app, list(map(str, given)))
    content = json.loads((out / "detections.json").read_text()) if result.exit_code == 0 else {}
    return result, content


def boxes_of(found: dict[str, Any]) -> list[tuple[str, float, list[float]]]:
    return [(each["class"], each["score"], each["box"]) for each in found["images"][0]["detections"]]


def opencv_scores(cfg: Path, image: np.ndarray) -> np.ndarray:
    """Return the scores above the floor before NMS, in descending order."""
    network = cv2.dnn.readNetFromDarknet(str(cfg), str(cfg.with_suffix(".weights")))
    network.setInput(cv2.dnn.blobFromImage(image, 1 / 255.0))
    rows = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))
    best = rows[:, 5:].max(axis=1)
    return np.sort(best[best > FLOOR])[::-1]


PLAIN = KINDS["tiny"]
NEW_COORDS = test_sections.NET + test_sections.EIGHT + test_sections.DETECTORS["new_coords"]
REGION = test_sections.NET + test_sections.EIGHT + "[reorg]\nstride=2\n" + test_sections.DETECTORS["region"]
AS_WRITTEN: dict[str, str] = {
    "new_coords": NEW_COORDS,
    "scale_channels": KINDS["enet"],
    "shortcut of other channels": test_sections.NET
    + test_sections.EIGHT
    + test_sections.SECTIONS["shortcut to fewer channels"]
    + test_sections.YOLO,
    "YOLOv2": REGION,
}
HARMLESS: dict[str, Callable[[str], str | bytes]] = {
    "a typing error in [net]": lambda text: text.replace("[net]\n", "[net]\nmosiac=1\n"),
    "keys of other versions": lambda text: text.replace(
        "[net]\n", "[net]\nmax_epochs=9\nsgdr_cycle=1\nsgdr_mult=2\ninputs=256\nuse_cuda_graph=1\n"
    ),
    "an empty value": lambda text: text.replace("[net]\n", "[net]\nmomentum=\n"),
    "commas at the end": lambda text: text.replace("mask=0,2\n", "mask=0,2,\n").replace("90\n", "90,\n"),
    "an end mark": lambda text: text + "\x1a",
    "UTF-16": lambda text: text.encode("utf-16"),
    "spaces, tabs and CRLF": lambda text: text.replace("=", " =\t").replace("\n", "\r\n"),
    "floats for whole numbers": lambda text: text.replace("stride=2\n", "stride=2.0\n"),
    "stride by axis": lambda text: text.replace("size=3\nstride=2\n", "size=3\nstride_x=2\nstride_y=2\n"),
}


@needs_opencv_importer
@pytest.mark.parametrize("kind", AS_WRITTEN)
def test_sections_of_later_networks_match_opencv(home: Path, kind: str) -> None:
    model = write_darknet(home / "model.cfg", AS_WRITTEN[kind])

    result, found = detect(model, home / "image.png", "--iou", "1", "--fit", "stretch")

    assert result.exit_code == 0, result.output
    expected = opencv_scores(model, noise())
    scores = np.array([score for _, score, _ in boxes_of(found)])
    scores = scores[scores > FLOOR]
    assert len(scores) == len(expected) > 5
    np.testing.assert_allclose(scores, expected, atol=2e-4)


@pytest.mark.parametrize("how", HARMLESS)
def test_harmless_variations_change_no_detection(home: Path, how: str) -> None:
    model = write_darknet(home / "model.cfg", PLAIN)
    expected = boxes_of(detect(model, home / "image.png")[1])
    written = HARMLESS[how](PLAIN)
    model.write_bytes(written if isinstance(written, bytes) else written.encode())

    result, found = detect(model, home / "image.png")

    assert result.exit_code == 0, result.output
    assert len(expected) > 5
    assert boxes_of(found) == expected


@pytest.mark.parametrize(
    "weights", ["model_best.weights", "model_last.weights", "model_final.weights", "model_1000.weights"]
)
def test_weights_named_by_the_trainer_are_found(home: Path, weights: str) -> None:
    model = write_darknet(home / "model.cfg", PLAIN, weights)
    for words in ([model], [model, "--weights", home / weights], [home / weights]):
        result, found = detect(words[0], home / "image.png", *words[1:])
        assert result.exit_code == 0, result.output
        assert len(boxes_of(found)) > 5


@pytest.mark.parametrize(
    ("key", "fit"), [("", "letterbox"), ("mosaic=1\n", "stretch"), ("letter_box=1\nmosaic=1\n", "letterbox")]
)
def test_images_are_fitted_as_the_cfg_suggests(
    home: Path, caplog: pytest.LogCaptureFixture, key: str, fit: str
) -> None:
    model = write_darknet(home / "model.cfg", PLAIN.replace("[net]\n", "[net]\n" + key))
    cv2.imwrite(str(home / "wide.png"), noise(60, 120))

    result, found = detect(model, home / "wide.png")

    assert f"(height x width), {fit}; " in result.stderr
    assert f"images are fitted by {fit}: " in caplog.text
    assert boxes_of(found) == boxes_of(detect(model, home / "wide.png", "--fit", fit)[1])


@pytest.mark.parametrize("side", [56, 60, 72])
def test_sides_need_not_be_multiples_of_32(home: Path, side: int) -> None:
    text = PLAIN.replace("width=64", f"width={side}").replace("height=96", f"height={side}")
    text = text[: text.index("[route]\nlayers=-3")]  # only one scale, so nothing to join
    model = write_darknet(home / "model.cfg", text)
    expected = boxes_of(detect(model, home / "image.png")[1])
    for layout in ("nhwc", "nchw"):
        exported = home / f"{layout}.onnx"
        words = ["export", model, "--to", "onnx", "--layout", layout, "--out", exported]
        assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
        result, found = detect(exported, home / "image.png")
        assert result.exit_code == 0, result.output
        assert [each[0] for each in boxes_of(found)] == [each[0] for each in expected]
        scores = [[score for _, score, _ in boxes] for boxes in (boxes_of(found), expected)]
        np.testing.assert_allclose(*scores, atol=1e-4)


def test_images_in_memory_give_the_same_detections(home: Path) -> None:
    model = write_darknet(home / "model.cfg", PLAIN)
    path = home / "image.png"
    content = path.read_bytes()
    with Detector.open(model, conf=0.01) as detector:
        expected = detector(path)
        assert len(expected) > 5
        pil = Image.open(path)
        chw = noise().transpose(2, 0, 1)
        with path.open("rb") as opened:
            for given in (
                str(path),
                content,
                bytearray(content),
                memoryview(content),
                io.BytesIO(content),
                opened,
                pil,
                noise(),
                chw,
            ):
                np.testing.assert_array_equal(detector(given).boxes, expected.boxes)  # type: ignore[call-overload]
        assert [len(each) for each in detector([path, pil])] == [len(expected)] * 2
        for wrong in (None, 3, {}, object(), np.zeros((2, 2, 7)), np.zeros(0)):
            with pytest.raises(LookonceError):
                detector(wrong)  # type: ignore[call-overload]


def longer(content: bytes, factor: float) -> bytes:
    """Write a Matroska file with another duration, as files with longer sound or a variable rate have."""
    at = content.index(b"\x44\x89\x88") + 3
    (duration,) = struct.unpack_from(">d", content, at)
    return content[:at] + struct.pack(">d", factor * duration) + content[at + 8 :]


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_a_container_that_declares_too_long_a_duration_is_read(home: Path, suffix: str) -> None:
    model = write_darknet(home / "model.cfg", PLAIN)
    codec = "MJPG" if suffix == "mkv" else "VP80"
    clip = write_video(home / f"clip.{suffix}", (noise(seed=n) for n in range(8)), 25.0, codec)
    clip.write_bytes(longer(clip.read_bytes(), 4))

    result, found = detect(model, clip)

    assert result.exit_code == 0, result.output
    assert [each["frame"] for each in found["images"]] == list(range(8))
    assert [each["seconds"] for each in found["images"]] == pytest.approx(
        [n / 25 for n in range(8)], abs=2e-3
    )


def test_interlaced_frames_are_found_or_refused(home: Path, data: Path) -> None:
    model = write_darknet(home / "model.cfg", PLAIN)

    result, found = detect(model, data / "interlaced.mpg")

    if find_spec("av"):
        assert len(found["images"]) == 6
        assert all(each["detections"] for each in found["images"])
    else:
        assert result.exit_code != 0
        assert "found an interlaced one" in str(result.exception) + result.output
