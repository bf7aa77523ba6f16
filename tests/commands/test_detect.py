"""`lookonce detect` from end to end: input files, output files, exit codes and signals."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import Result

from lookonce._interrupts import Interrupts
from lookonce._outputs import temporary_prefix
from lookonce.cli import main
from lookonce.errors import ConfigError, LookonceError
from lookonce.images import read_image, write_image
from lookonce.metadata import ModelInfo
from lookonce.runtime.video import read_frames
from lookonce.tiff import tiff_pages
from tests.command_line import invoke
from tests.mjpeg_server import camera, free_port
from tests.tiffs import geotiff_tags, write_tiff
from tests.tiny_onnx import MAGENTA, YELLOW, grained, image
from tests.videos import write_video

LEFT, RIGHT = (0, 0, 32, 32), (64, 0, 96, 32)
LOOKONCE = [sys.executable, "-c", "from lookonce.cli import main; main()"]
run = partial(invoke, "detect")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write three images with two, one and no objects."""
    folder = tmp_path / "photos"
    write_image(folder / "1 both.png", image((64, 96), (LEFT, YELLOW), (RIGHT, MAGENTA)))
    write_image(folder / "2 one.png", image((64, 96), (RIGHT, MAGENTA)))
    write_image(folder / "3 none.png", image((64, 96)))
    return folder


def found_in(path: Path) -> dict[str, list[str]]:
    """Return the detected classes per file name."""
    tree = json.loads((path / "detections.json").read_text())
    return {Path(p["file"]).name: [d["class"] for d in p["detections"]] for p in tree["images"]}


def test_a_folder_of_images_is_detected(model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    result = run(model, photos, "--out", out)

    assert result.exit_code == 0
    assert "done: 3 images, 3 detections" in result.stdout
    assert "blue 2, green 1" in result.stdout
    assert str(out / "detections.json") in result.stdout
    assert found_in(out) == {"1 both.png": ["green", "blue"], "2 one.png": ["blue"], "3 none.png": []}
    annotated = sorted((out / "annotated").iterdir())
    assert [path.name for path in annotated] == ["1 both.png", "2 one.png", "3 none.png"]
    assert (read_image(annotated[0]) != read_image(photos / "1 both.png")).any()


def test_every_table_format_can_be_saved(model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    assert run(model, photos / "*one*", "--out", out, "--save", "csv,coco, counts").exit_code == 0

    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "coco_results.json",
        "counts.csv",
        "detections.csv",
    ]
    assert (out / "counts.csv").read_text().splitlines() == [
        "file,second,green,blue,all",
        f"{photos / '2 one.png'},,0,1,1",
        f"{photos / '3 none.png'},,0,0,0",
        "total,,0,1,1",
    ]
    (entry,) = json.loads((out / "coco_results.json").read_text())
    assert entry == {"image_id": "2 one", "category_id": 2, "bbox": [64, 0, 32, 32], "score": 1}
    assert (out / "detections.csv").read_text().splitlines()[1:] == [
        f"{photos / '2 one.png'},,blue,1.0,64.0,0.0,96.0,32.0",
        f"{photos / '3 none.png'},,,,,,,",
    ]


def test_coco_ids_come_from_an_annotation_file(model: Path, photos: Path, tmp_path: Path) -> None:
    annotations = {
        "images": [{"id": 41, "file_name": "2 one.png", "width": 96, "height": 64}],
        "categories": [{"id": 90, "name": "blue"}, {"id": 5, "name": "green"}],
        "annotations": [{"id": 1, "image_id": 41, "category_id": 90, "bbox": [64, 0, 32, 32], "area": 1024}],
    }
    (photos / "truth.json").write_text(json.dumps(annotations))
    words = (model, photos / "2 one.png", "--out", tmp_path, "--save", "coco", "--coco-ids")

    assert run(*words, photos / "truth.json").exit_code == 0
    (entry,) = json.loads((tmp_path / "coco_results.json").read_text())
    assert (entry["image_id"], entry["category_id"]) == (41, 90)

    annotations["images"] += [{"id": 42, "file_name": "other/2 one.png", "width": 96, "height": 64}]
    (photos / "truth.json").write_text(json.dumps(annotations))
    with pytest.raises(LookonceError, match=r"truth\.json: .* found 2 called 2 one\.png"):
        run(*words, photos / "truth.json")
    annotations["categories"].pop()
    (photos / "truth.json").write_text(json.dumps(annotations))
    with pytest.raises(LookonceError, match=r"truth\.json: .* found none named 'green'"):
        run(*words, photos / "truth.json")
    (photos / "truth.json").write_text("[]")
    with pytest.raises(LookonceError, match=r"truth\.json: expected a COCO annotation file"):
        run(*words, photos / "truth.json")


def test_thresholds_of_the_model_are_used_and_named(model: Path, photos: Path, tmp_path: Path) -> None:
    known = onnx.load(model)
    (entry,) = known.metadata_props
    own = tmp_path / "own.onnx"
    info = replace(ModelInfo.from_json(entry.value, "x"), thresholds=(0.25, 1.0))
    entry.value = info.to_json()
    onnx.save(known, own)

    used: list[dict[str, float]] = []

    def counted(*words: object) -> tuple[str, int]:
        result = run(
            own, photos / "*one*", "--out", tmp_path / "out", "--save", "counts,json", "--force", *words
        )
        assert result.exit_code == 0, result.stderr
        tree = json.loads((tmp_path / "out" / "detections.json").read_text())
        used.append(tree["thresholds"])
        return result.stderr, int((tmp_path / "out" / "counts.csv").read_text().split(",")[-1])

    said, count = counted()
    assert "score thresholds of the model (--conf overrides): green 0.25, blue 1.00" in said
    assert count == 0  # blue has the score 1, which is not above 1
    said, count = counted("--conf", "blue=0.9")
    assert "score thresholds: green 0.25, blue 0.90" in said
    assert count == 1
    said, count = counted("--conf", "0.3")
    assert "score threshold: 0.3, instead of the model's own" in said
    assert count == 1
    assert used == [
        {"green": 0.25, "blue": 1.0},
        {"green": 0.25, "blue": 0.9},
        {"green": 0.3, "blue": 0.3},
    ]


@pytest.mark.parametrize(
    ("conf", "complaint"),
    [
        ("high", "--conf: expected a number, or numbers by class such as dog=0.4,cat=0.2, found 'high'"),
        ("green=0.3,0.4", "--conf: expected a number, or numbers by class"),
        ("green=", "--conf: expected a number, or numbers by class"),
        ("green=2", "--conf: expected a number from 0 to 1, found 2.0"),
        ("red=0.3", "--conf: expected some of green, blue; found 'red'"),
    ],
)
def test_a_bad_threshold_is_named(
    model: Path, photos: Path, tmp_path: Path, conf: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        run(model, photos, "--out", tmp_path / "out", "--conf", conf)


def test_options_reach_the_detector(model: Path, photos: Path, tmp_path: Path) -> None:
    def found(*words: str) -> list[str]:
        run(model, photos / "1 both.png", "--out", tmp_path, "--save", "json", *words)
        return found_in(tmp_path)["1 both.png"]

    assert found() == ["green", "blue"]
    assert found("--classes", "blue") == ["blue"]
    assert found("--classes", "0") == ["green"]
    assert found("--conf", "1") == []
    assert len(found("--size", "128x192")) == 8  # at twice the size, each object covers four cells
    assert found("--fit", "stretch", "--threads", "1", "--iou", "0.1", "--agnostic") == ["green", "blue"]


def test_large_jpegs_are_reduced_on_request(model: Path, tmp_path: Path) -> None:
    large = image((768, 1152), ((0, 0, 384, 384), YELLOW), ((768, 384, 1152, 768), MAGENTA))
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.jpg", grained(large))
    words = "detect", model, tmp_path / "photos", "--save", "json"
    assert invoke(*words, "--out", tmp_path / "exact").exit_code == 0
    assert invoke(*words, "--reduce-jpeg", "--out", tmp_path / "reduced").exit_code == 0

    exact, reduced = (
        json.loads((tmp_path / out / "detections.json").read_text())["images"][0]
        for out in ("exact", "reduced")
    )
    assert (reduced["width"], reduced["height"]) == (exact["width"], exact["height"]) == (1152, 768)
    assert exact["detections"] != reduced["detections"]
    for one, other in zip(exact["detections"], reduced["detections"], strict=True):
        assert one["class"] == other["class"]
        np.testing.assert_allclose(one["box"], other["box"], atol=2)
    with pytest.raises(ConfigError, match="--reduce-jpeg: expected --save without images"):
        invoke("detect", model, tmp_path / "photos", "--reduce-jpeg", "--out", tmp_path / "c")


@pytest.mark.parametrize("rate", [12.5, 30_000 / 1001])
def test_video_in_video_out(model: Path, tmp_path: Path, rate: float) -> None:
    frames = (image((64, 96), *[(LEFT, YELLOW)] * (number >= 4)) for number in range(40))
    write_video(tmp_path / "clip.mp4", frames, rate)
    out = tmp_path / "out"

    result = run(model, tmp_path / "clip.mp4", "--out", out, "--save", "images,json")

    assert result.exit_code == 0
    assert result.output.count("annotated videos have no sound and a constant frame rate") == (
        0 if find_spec("av") else 1
    )
    given, made = (
        list(read_frames(path)) for path in (tmp_path / "clip.mp4", out / "annotated" / "clip.mp4.webm")
    )
    assert [moment.number for _, moment in made] == [moment.number for _, moment in given]
    times = [moment.seconds for _, moment in given]
    assert [moment.seconds for _, moment in made] == pytest.approx(
        times, abs=1e-3
    )  # times in WebM are milliseconds
    assert made[-1][1].seconds == pytest.approx(39 / rate, abs=1e-3)
    assert made[0][1].rate == pytest.approx(rate, abs=1e-3)  # the writer rounds to three digits
    assert {pixels.shape for pixels, _ in made} == {(64, 96, 3)}
    images = json.loads((out / "detections.json").read_text())["images"]
    assert [len(each["detections"]) for each in images] == [0] * 4 + [1] * 36
    assert [each["frame"] for each in images] == list(range(40))
    assert images[5]["seconds"] == round(5 / rate, 3)


def test_bad_images_are_named_once_and_counted(model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_text("<html>")
    out = tmp_path / "out"

    result = run(model, photos, photos / "bad.jpg", "--out", out)

    assert result.exit_code == 1
    assert result.stderr.count("bad.jpg") == 1
    assert "skipped: " in result.stderr
    assert "1 file skipped" in result.stdout
    assert len(found_in(out)) == 3


def test_the_summary_is_written_as_json(model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_text("<html>")

    result = run(model, photos, "--out", tmp_path, "--save", "json", "--json", "-")

    summary = json.loads(result.stdout)
    assert summary.pop("seconds") > 0
    (problem,) = summary.pop("skipped")
    assert "HTML" in problem
    assert summary == {
        "frames": 3,
        "kept": 0,
        "detections": {"blue": 2, "green": 1},
        "complete": True,
        "first_frame_only": [],
        "dropped": 0,
        "reconnects": 0,
        "saved": {"json": str(tmp_path / "detections.json")},
    }


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal(model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_text("<html>")
    ours, its = os.openpty()
    process = subprocess.Popen(
        [*LOOKONCE, "detect", model, photos, "--out", tmp_path / "out"],
        stdout=subprocess.DEVNULL,
        stderr=its,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
    )
    os.close(its)
    seen = b""
    with suppress(OSError):  # the error of a pseudo-terminal whose other side was closed
        while piece := os.read(ours, 1 << 16):
            seen += piece
    os.close(ours)

    assert process.wait() == 1
    assert b"3/4" in seen  # one was skipped
    assert b"/s" in seen
    assert b"Traceback" not in seen
    assert seen.count(b"bad.jpg") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{model}", "absent.jpg"], "absent.jpg: expected a file"),
        (["absent.onnx", "{photos}"], "absent.onnx: no such file"),
        (
            ["{model}", "{photos}", "--save", "xml"],
            "--save: expected some of images, geojson, json, csv, counts, coco",
        ),
        (["{model}", "{photos}", "--size", "100"], "--size: expected a size like 416"),
        (["{model}", "{photos}", "--fit", "crop"], "fit: expected letterbox or stretch, found 'crop'"),
        (["{model}", "{photos}", "--classes", "red"], "classes: expected some of green, blue; found 'red'"),
        (["{model}", "{photos}", "--conf", "2"], "conf: expected a number from 0 to 1"),
        (["{model}", "{photos}/bad.jpg"], "bad.jpg: expected an image"),
        (["{model}", "{photos}", "--strict"], "bad.jpg: expected an image"),
        (["{model}", "{photos}/2 one.png", "--out", "{photos}/bad.jpg"], "expected a folder, found a file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    model: Path,
    photos: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (photos / "bad.jpg").write_text("<html>")
    monkeypatch.chdir(photos.parent)
    filled = [word.format(model=model, photos=photos) for word in words]
    monkeypatch.setattr(sys, "argv", ["lookonce", "detect", *filled])

    with pytest.raises(SystemExit) as left:
        main()

    assert left.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not list(photos.parent.rglob(".lookonce[-.]*"))
    assert (photos.parent / "detections").exists() == ("--strict" in words)  # keeps the finished results


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
def test_names_that_are_not_utf8_are_detected(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    write_image(folder / "1.png", image((64, 96), (LEFT, YELLOW)))
    write_image(tmp_path / "2.png", image((64, 96)))
    (folder / "clip.mp4").touch()
    words = (tmp_path / "2.png", folder, "--save", "images,json,csv,coco", "--out", tmp_path / "out")

    result = subprocess.run(
        [*LOOKONCE, "detect", model, *words], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == 1, result.stderr
    assert "clip.mp4: expected a video under a name in UTF-8" in result.stderr
    assert found_in(tmp_path / "out") == {"2.png": [], "1.png": ["green"]}
    assert read_image(tmp_path / "out" / "annotated" / "caf\udce9" / "1.png").shape == (64, 96, 3)
    assert run(model, *words, "--resume").stdout.count("2 images of them kept") == 1


def test_strict_keeps_what_was_done(model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "2 two.jpg").write_text("<html>")

    with pytest.raises(LookonceError, match=r"2 two\.jpg"):
        run(model, photos, "--out", tmp_path, "--save", "json", "--strict")

    tree = json.loads((tmp_path / "detections.json").read_text())
    assert tree["complete"] is False
    assert len(tree["images"]) == 2


def test_exported_models_need_no_torch(model: Path, photos: Path, tmp_path: Path) -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(('torch', 'safetensors', 'matplotlib')));"
    code = f"{block} import lookonce; lookonce.Detector; from lookonce.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code, "detect", model, photos, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert len(found_in(tmp_path / "out")) == 3


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write so many images that a run can be interrupted halfway."""
    content = cv2.imencode(".png", image((240, 320), ((0, 0, 320, 240), MAGENTA)))[1].tobytes()
    folder = tmp_path_factory.mktemp("many")
    for number in range(200):
        (folder / f"{number:03}.png").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def whole(model: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the results of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    run(model, many, "--out", out, "--save", "images,json,csv,coco")
    return contents(out)


@pytest.fixture
def midway(model: Path, many: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a run over many images; return its process once it has begun to write."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*LOOKONCE, "detect", model, many, "--out", out, "--save", "images,json,csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and not (out / "annotated" / "005.png").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_keeps_its_results(
    midway: subprocess.Popen[str], tmp_path: Path, number: int
) -> None:
    midway.send_signal(number)
    stdout, stderr = midway.communicate(timeout=30)

    out = tmp_path / "out"
    assert midway.returncode == 128 + number, stderr
    assert "stopped after" in stdout
    assert stderr.endswith(
        "tiny.onnx: cells, 2 classes, input 64x96 (height x width), letterbox; onnxruntime, float32\n"
    )
    assert stderr.count("\n") == 1
    done = sorted(path.name for path in (out / "annotated").iterdir())
    assert 5 < len(done) < 200
    assert all(read_image(out / "annotated" / name).shape == (240, 320, 3) for name in done)
    assert list(found_in(out)) == done
    assert json.loads((out / "detections.json").read_text())["complete"] is False
    rows = (out / "detections.csv").read_text().splitlines()[1:]
    assert sorted({Path(row.split(",")[0]).name for row in rows}) == done
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "annotated",
        "detections.csv",
        "detections.json",
    ]


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_a_killed_run_leaves_only_whole_files(midway: subprocess.Popen[str], tmp_path: Path) -> None:
    midway.kill()
    midway.communicate(timeout=30)

    visible = [path for path in (tmp_path / "out").rglob("[!.]*") if path.is_file()]
    assert 5 < len(visible) < 200
    assert all(path.suffix == ".png" and np.any(read_image(path)) for path in visible)  # no incomplete list


def again(model: Path, folder: Path, out: Path, *words: object) -> tuple[Result, dict[str, object]]:
    result = run(
        model, folder, "--out", out, "--save", "images,json,csv,coco", "--resume", "--json", "-", *words
    )
    return result, json.loads(result.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, including hidden ones."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("[!.]*")) if p.is_file()}
    # a WebM file has random identifiers of constant length
    return {name: bytes(len(data)) if name.endswith(".webm") else data for name, data in found.items()}


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_is_resumed(
    model: Path,
    many: Path,
    whole: dict[str, bytes],
    midway: subprocess.Popen[str],
    tmp_path: Path,
    number: int,
) -> None:
    midway.send_signal(number)
    midway.communicate(timeout=30)
    out = tmp_path / "out"
    before = contents(out / "annotated")

    result, summary = again(model, many, out)

    assert result.exit_code == 0
    assert summary["frames"] == 200
    assert 5 <= summary["kept"] < 200
    assert summary["kept"] >= len([name for name in before if not name.startswith(".")]) - 1
    assert summary["detections"] == {"blue": 1200}  # six cells each
    for leftover in (out / "annotated").glob(".*"):  # an image that was being written
        leftover.unlink()
    assert contents(out) == whole


def test_clashing_coco_ids_are_refused_before_the_run(model: Path, photos: Path, tmp_path: Path) -> None:
    write_image(photos / "3 none.bmp", image((64, 96)))
    words = (model, photos, "--out", tmp_path / "out", "--save", "images,json,coco")

    with pytest.raises(ConfigError, match=r"3 none\.png: expected an image id of its own"):
        run(*words)

    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == []
    (photos / "3 none.bmp").unlink()
    assert run(*words).exit_code == 0
    written = contents(tmp_path / "out")
    write_image(photos / "1 both.bmp", image((64, 96)))
    with pytest.raises(ConfigError, match=r"1 both\.bmp: expected an image id .*1 both\.png has too"):
        run(*words, "--resume")
    assert contents(tmp_path / "out") == written


def test_a_coco_id_of_a_frame_clashes_before_the_run_too(model: Path, photos: Path, tmp_path: Path) -> None:
    write_video(photos / "clip.mp4", [image((64, 96), (LEFT, YELLOW))] * 5, 10.0)
    write_image(photos / "clip-5.png", image((64, 96)))  # beyond the last frame
    words = (model, photos, "--out", tmp_path / "out", "--save", "json,coco")
    assert run(*words).exit_code == 0
    write_image(photos / "clip-3.png", image((64, 96)))
    for more in ([], ["--resume"]):
        before = contents(tmp_path / "out")
        with pytest.raises(ConfigError, match="found 'clip-3', which"):
            run(*words, *more)
        assert contents(tmp_path / "out") == before


def test_annotated_images_of_two_sources_have_different_names(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    Image.fromarray(image((64, 96), (LEFT, YELLOW))).save(photos / "x.gif")
    write_image(photos / "x.gif.png", image((64, 96)))
    assert run(model, photos, "--out", tmp_path, "--save", "images,json").exit_code == 0
    assert {each.name for each in (tmp_path / "annotated").iterdir()} == {
        "1 both.png", "2 one.png", "3 none.png", "x.gif-2.png", "x.gif.png",
    }  # fmt: skip
    assert not np.any(read_image(tmp_path / "annotated" / "x.gif.png"))


def test_resume_works_with_nothing_begun_or_nothing_left(model: Path, photos: Path, tmp_path: Path) -> None:
    first, begun = again(model, photos, tmp_path / "out")
    written = contents(tmp_path / "out")
    second, finished = again(model, photos, tmp_path / "out")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert (begun["kept"], begun["frames"]) == (0, 3)
    assert (finished["kept"], finished["frames"]) == (3, 3)
    assert finished["detections"] == begun["detections"]
    assert contents(tmp_path / "out") == written


def test_resume_adds_new_files_and_retries_bad_ones(model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "2 one.png").rename(photos / "hidden")
    (photos / "2 one.png").write_text("<html>")
    assert again(model, photos, tmp_path / "out")[0].exit_code == 1
    assert again(model, photos, tmp_path / "out")[0].exit_code == 1  # although no other file is left
    (photos / "hidden").rename(photos / "2 one.png")
    write_image(photos / "0 new.png", image((64, 96), (LEFT, YELLOW)))

    result, summary = again(model, photos, tmp_path / "out")

    assert result.exit_code == 0
    assert (summary["kept"], summary["frames"]) == (2, 4)
    assert found_in(tmp_path / "out") == {
        "1 both.png": ["green", "blue"],
        "3 none.png": [],
        "0 new.png": ["green"],
        "2 one.png": ["blue"],
    }


@pytest.mark.parametrize(
    ("words", "weights", "changed"),
    [
        ("net.cfg", "net.weights", "net.weights"),
        ("net.cfg", "net_best.weights", "net_best.weights"),
        ("net.cfg", "net.weights", "net.cfg"),
        ("net.weights", "net.weights", "net.cfg"),
        ("net.weights", "net.weights", "net.weights"),
        ("net.cfg --weights mine", "mine", "mine"),
    ],
)
def test_resume_notices_a_change_of_either_darknet_file(
    small_model: Path, photos: Path, tmp_path: Path, words: str, weights: str, changed: str
) -> None:
    shutil.copy(small_model, tmp_path / "net.cfg")
    shutil.copy(small_model.with_suffix(".weights"), tmp_path / weights)
    model, *options = (tmp_path / word if "." in word or word == "mine" else word for word in words.split())
    line = (model, photos, "--out", tmp_path / "out", "--save", "json", *options)
    assert run(*line).exit_code == 0
    assert run(*line, "--resume").exit_code == 0
    os.utime(tmp_path / changed, (0, 0))
    with pytest.raises(ConfigError, match="expected results of the same model"):
        run(*line, "--resume")


@pytest.mark.parametrize(
    "ids", ["{}", '{"images": [], "categories": [{"name": "green", "id": 1}, {"name": "blue", "id": 2}]}']
)
def test_a_refused_resume_leaves_the_earlier_results(
    model: Path, photos: Path, tmp_path: Path, ids: str
) -> None:
    out = tmp_path / "out"
    run(model, photos, "--out", out, "--save", "json")
    before = contents(out)
    (tmp_path / "ids.json").write_text(ids)

    with pytest.raises(LookonceError, match=r"annotation file|image ids"):
        run(
            model,
            photos,
            "--out",
            out,
            "--save",
            "json,csv,coco",
            "--resume",
            "--coco-ids",
            tmp_path / "ids.json",
        )

    assert contents(out) == before


def test_resume_retries_a_damaged_video(model: Path, photos: Path, tmp_path: Path) -> None:
    clip = photos / "0 clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (96, 64))
    for _ in range(20):
        writer.write(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    words = (model, photos, "--out", tmp_path / "out", "--save", "images,json")
    assert run(*words).exit_code == 1

    result = run(*words, "--resume")

    assert result.exit_code == 1
    assert "3 images of them kept" in result.stdout
    assert "0 clip.avi: expected 20 frames" in result.stderr
    assert found_in(tmp_path / "out").keys() == {"0 clip.avi", "1 both.png", "2 one.png", "3 none.png"}


def test_a_run_removes_what_a_killed_one_left(model: Path, photos: Path, tmp_path: Path) -> None:
    results = tmp_path / "out" / "detections.json"
    results.parent.mkdir()
    (torn := Path(f"{results.parent}/{temporary_prefix(results)}1x.json")).write_text("torn")

    assert run(model, photos, "--out", tmp_path / "out").exit_code == 0

    assert [results.exists(), torn.exists()] == [True, False]


def test_resume_redoes_an_unfinished_video(model: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(photos / name, [image((64, 96), (LEFT, YELLOW))] * 5, 12.5)
    words = (model, photos, "--save", "images,json,csv", "--out")
    run(*words, tmp_path / "whole")
    run(*words, tmp_path / "out")
    results = tmp_path / "out" / "detections.json"
    torn = results.read_text().splitlines(keepends=True)[
        : 1 + 3 + 5 + 3
    ]  # head, images, a.mp4, part of b.mp4
    Path(f"{results.parent}/{temporary_prefix(results)}1x.json").write_text("".join(torn)[:-40])
    results.unlink()

    result = run(*words, tmp_path / "out", "--resume")

    assert "8 images of them kept from the earlier run" in result.stdout
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{photos}", "--save", "csv"], "--resume: reads the json results"),
        (["{photos}", "-"], "--resume: expected only files"),
        (["{photos}", "--conf", "0.5"], "detections.json: expected results of the same model and options"),
        (["{photos}", "--save", "json"], "detections.json: expected results of the same model and options"),
        (["{photos}/2 one.png"], "found results of {photos}/1 both.png, which is not among them"),
    ],
)
def test_resume_does_not_mix_results(
    model: Path, photos: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    run(model, photos, "--out", tmp_path / "out")
    before = contents(tmp_path / "out")

    with pytest.raises(LookonceError) as raised:
        run(model, *[word.format(photos=photos) for word in words], "--out", tmp_path / "out", "--resume")

    assert message.format(photos=photos) in str(raised.value)
    assert contents(tmp_path / "out") == before


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_a_live_stream_survives_a_cut_until_it_is_stopped(model: Path, tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "out"
    command = [*LOOKONCE, "detect", model, f"http://127.0.0.1:{port}/", "--out", out, "--json", "-"]

    def written(least: int) -> None:
        """Wait until the growing file has so many more frames."""
        deadline = time.monotonic() + 60
        least += len(seen())
        while len(seen()) < least:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def seen() -> list[str]:
        return [line for file in out.glob(".*detections*.json") for line in file.read_text().splitlines()]

    with camera(port):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            written(8)
        except BaseException:
            process.kill()
            raise
    try:
        with camera(port):
            written(8)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == 130, stderr
    summary = json.loads(stdout)
    assert summary["complete"] is False
    assert summary["reconnects"] == 1
    assert summary["dropped"] >= 0
    images = json.loads((out / "detections.json").read_text())["images"]
    assert len(images) == summary["frames"] >= 14
    numbers = [each["frame"] for each in images]
    assert numbers == sorted(set(numbers))
    clip = list(read_frames(out / "annotated" / "stream-0.webm"))
    lasted = images[-1]["seconds"] - images[0]["seconds"]
    assert clip[-1][1].seconds == pytest.approx(lasted, abs=2 / 25)  # at the recorded speed
    assert sorted(path.name for path in out.glob("[!.]*")) == ["annotated", "detections.json"]


def test_images_and_lists_are_read_from_standard_input(model: Path, photos: Path, tmp_path: Path) -> None:
    def piped(sent: bytes, *words: str) -> dict[str, list[str]]:
        done = subprocess.run(
            [*LOOKONCE, "detect", model, *words, "--out", tmp_path / "out"],
            input=sent,
            capture_output=True,
            timeout=60,
            cwd=photos,
        )
        assert done.returncode == 0, done.stderr.decode()
        return found_in(tmp_path / "out")

    assert piped((photos / "2 one.png").read_bytes(), "-") == {"-": ["blue"]}
    assert (tmp_path / "out" / "annotated" / "stdin.png").exists()
    listed = piped(b"2 one.png\n1 both.png\n", "@-", "3 none.png")
    assert listed == {"2 one.png": ["blue"], "1 both.png": ["green", "blue"], "3 none.png": []}


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_ctrl_c_ends_a_wait_for_standard_input(model: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*LOOKONCE, "detect", model, "-", "--out", tmp_path / "out"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        assert b"tiny.onnx" in process.stderr.readline()  # it has begun
        while not list(tmp_path.glob("out/.*detections*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Set Python's handler for Ctrl-C, which processes in the background of a script do not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_an_interrupt_waits_for_the_work_in_progress() -> None:
    work = []
    with Interrupts() as interrupts:
        assert interrupts.wait_for(lambda: 1) == 1
        signal.raise_signal(signal.SIGINT)
        work.append("was not cut in two")
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait_for(lambda: work.append("began"))
        signal.raise_signal(signal.SIGINT)
    assert work == ["was not cut in two"]
    assert interrupts.signal == signal.SIGINT

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        interrupts.wait_for(lambda: signal.raise_signal(signal.SIGTERM))
    assert interrupts.signal == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):  # Python's handler is set again
        signal.raise_signal(signal.SIGINT)


STUCK = """
import sys, time
from contextlib import closing
from functools import partial
from lookonce._interrupts import Interrupts
from lookonce.runtime.pipeline import in_parallel

def work(item):
    print("stuck", flush=True)
    time.sleep(1000)

with Interrupts() as interrupts, closing(in_parallel(range(9), work)) as results:
    interrupts.wait_for(partial(next, results))
"""


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_process_whose_workers_are_stuck(second: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for its workers
            process.wait(timeout=2)
        process.send_signal(second)
        assert process.wait(timeout=30) == 128 + second
    finally:
        process.kill()
        process.communicate()


def test_an_image_that_cannot_be_written_is_skipped(model: Path, photos: Path, tmp_path: Path) -> None:
    wide = np.zeros((1, 16_384, 3), np.uint8)  # too wide for WebP; OpenCV reads it as BMP
    write_image(photos / "wide.bmp", wide)
    (photos / "wide.bmp").rename(photos / "wide.webp")
    long = photos / ("n" * 245 + ".png")
    (photos / "2 one.png").rename(long)

    result = run(model, photos, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "1 file skipped" in result.stdout
    assert "wide.webp" in result.stderr
    found = found_in(tmp_path / "out")
    assert sorted(found) == ["1 both.png", "3 none.png", long.name]
    assert (tmp_path / "out" / "annotated" / long.name).exists()
    with pytest.raises(LookonceError):
        run(model, photos, "--out", tmp_path / "strict", "--strict")


# ---- large images, pages, maps


def grid_of_objects(side: int, count: int) -> dict[tuple[int, int, int, int], str]:
    """Return boxes of 64 pixels, spread over a square image including its corners, with their classes."""
    places = np.linspace(0, side // 64 - 1, count).round().astype(int) * 64
    boxes = [(x, y, x + 64, y + 64) for y in places.tolist() for x in places.tolist()]
    return {box: ("green", "blue")[number % 2] for number, box in enumerate(boxes)}


RUN = "import sys; from lookonce.cli import app; app(sys.argv[1:], standalone_mode=False); "
# not `getrusage`, whose peak includes that of the test process, from which this one was forked
STATUS = "next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))"
PEAK = RUN + f"print('peak', int({STATUS}.split()[1]) << 10)"


@pytest.mark.parametrize(
    ("tiles", "objects", "memory"),
    [
        pytest.param(
            18, 25, 3 * (1024 + 17 * 768) ** 2, id="198 megapixels"
        ),  # less than the pixels would take
        pytest.param(59, 50, 1 << 30, id="2.08 gigapixels", marks=pytest.mark.slow),
    ],
)
def test_large_images_are_read_in_windows(
    model: Path, tmp_path: Path, tiles: int, objects: int, memory: int
) -> None:
    """In tiles of 1024 with overlap 0.25, at half size, each object is a cell of the network."""
    side = 1024 + (tiles - 1) * 768
    drawn = grid_of_objects(side, objects)
    colors = {"green": YELLOW, "blue": MAGENTA}
    path = write_tiff(
        tmp_path / "map.tif",
        (side, side),
        [(box, colors[name]) for box, name in drawn.items()],
        tile=512,
        big=True,
        tags=geotiff_tags(0.5, (500_000, 5_400_000)),
    )
    words = ["detect", model, path, "--tiles", 1024, "--overlap", 0.25, "--size", 512]
    more = ["--save", "json,csv,counts,geojson,images", "--out", tmp_path / "found"]

    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, words + more)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "found" / "detections.json").read_text())["images"]
    assert (record["width"], record["height"]) == (side, side)
    found = [(tuple(int(x) for x in each["box"]), each["class"]) for each in record["detections"]]
    assert len(found) == len(drawn)  # each once
    assert dict(found) == drawn
    assert int(done.stdout.split("peak ")[1]) < memory
    overview = read_image(tmp_path / "found" / "annotated" / "map.tif")
    assert max(overview.shape) == -(-side // -(-side // 4096))
    features = json.loads((tmp_path / "found" / "geojson" / "map.tif.geojson").read_text())["features"]
    (corner,) = [each for each in features if each["properties"]["box"][:2] == [0, 0]]
    assert corner["geometry"]["coordinates"][0][:2] == [[500_000, 5_400_000], [500_000, 5_399_968]]
    assert corner["geometry"]["coordinates"][0][-1] == [500_000, 5_400_000]


def test_a_large_image_without_tiles_says_what_to_do(model: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "map.tif", (20_000, 20_000), tile=2048, big=True)

    with pytest.raises(LookonceError, match="detect --tiles reads it in windows"):
        run(model, path, "--out", tmp_path / "found")


def test_each_page_of_a_tiff_is_an_image(model: Path, tmp_path: Path) -> None:
    pages = [
        image((64, 96), (LEFT, YELLOW)),
        image((64, 96)),
        image((64, 96), (LEFT, YELLOW), (RIGHT, MAGENTA)),
    ]
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)

    run(model, tmp_path / "stack.tif", "--out", tmp_path / "a", "--save", "json,csv,counts,coco,images")

    expected = {"stack.tif#1": ["green"], "stack.tif#2": [], "stack.tif#3": ["green", "blue"]}
    assert found_in(tmp_path / "a") == expected
    counts = (tmp_path / "a" / "counts.csv").read_text().splitlines()
    assert [line.rsplit("/")[-1] for line in counts[1:]] == [
        "stack.tif#1,,1,0,1",
        "stack.tif#2,,0,0,0",
        "stack.tif#3,,1,1,2",
        "total,,2,1,3",
    ]
    assert {each.name for each in (tmp_path / "a" / "annotated").iterdir()} == {
        f"stack#{number}.tif" for number in (1, 2, 3)
    }
    coco = json.loads((tmp_path / "a" / "coco_results.json").read_text())
    assert {each["image_id"] for each in coco} == {"stack#1", "stack#3"}


def test_pages_are_skipped_for_a_labeling_tool(model: Path, tmp_path: Path) -> None:
    page = Image.fromarray(image((64, 96), (LEFT, YELLOW)))
    page.save(tmp_path / "stack.tif", save_all=True, append_images=[page])
    page.save(tmp_path / "one.tif")
    (tmp_path / "stack.tif#2").touch()  # not a source

    done = run(model, tmp_path / "stack.tif", tmp_path / "one.tif", "--save", "yolo", "--out", tmp_path / "a")

    assert done.exit_code == 1
    assert "stack.tif#2: expected one image per file for yolo, found a page" in done.stderr
    assert len(list((tmp_path / "a").rglob("one.txt"))) == 1
    assert not list((tmp_path / "a").rglob("stack*"))


def test_resume_keeps_a_tiff_whose_pages_are_all_done(model: Path, tmp_path: Path) -> None:
    pages = [Image.fromarray(image((64, 96), (LEFT, YELLOW)))] * 2
    for name in ("a.tif", "b.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    words = [model, tmp_path / "a.tif", tmp_path / "b.tif", "--save", "json", "--out", tmp_path / "found"]
    run(*words)
    whole = (tmp_path / "found" / "detections.json").read_text()
    lines = whole.split("\n")
    (tmp_path / "found" / "detections.json").write_text(
        "\n".join(lines[:4])
    )  # the second page of b is missing

    resumed = run(*words, "--resume", "--json", "-")

    assert (json.loads(resumed.stdout)["kept"], json.loads(resumed.stdout)["frames"]) == (2, 4)
    assert (tmp_path / "found" / "detections.json").read_text() == whole


def test_a_damaged_page_is_skipped_and_counted(model: Path, tmp_path: Path) -> None:
    pages = [Image.fromarray(image((64, 96), (LEFT, YELLOW)))] * 3
    path = tmp_path / "stack.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    path.write_bytes(path.read_bytes()[: tiff_pages(path)[2] + 9])

    done = run(model, path, "--out", tmp_path / "found", "--save", "json")

    assert done.exit_code == 1
    assert "expected the directory of page 3, found it damaged" in done.stderr
    assert list(found_in(tmp_path / "found")) == ["stack.tif#1", "stack.tif#2"]


def test_a_tiff_of_damaged_pages_is_given_up(model: Path, tmp_path: Path) -> None:
    """Reading and reporting thousands of pages took 15 seconds and printed a megabyte."""
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for _ in range(3_000):
        tags = struct.pack("<HHII", 256, 4, 1, 8) * 2
        data += struct.pack("<H", 2) + tags + struct.pack("<I", len(data) + 30)
    (tmp_path / "pages.tif").write_bytes(data)
    write_image(tmp_path / "sound.png", image((64, 96), (LEFT, YELLOW)))

    done = run(model, tmp_path, "--out", tmp_path / "found", "--save", "json", "--json", "-")

    assert done.exit_code == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("skipped: ")]
    assert len(lines) == 21
    assert re.search(r"1 more of .*pages\.tif$", lines[-1])
    skipped = json.loads(done.stdout)["skipped"]
    assert len(skipped) == 21
    assert "found 20 damaged pages: pages 21 to 3000 left out" in skipped[-1]
    assert list(found_in(tmp_path / "found")) == ["sound.png"]


def test_an_image_without_coordinates_gets_no_geojson(model: Path, photos: Path, tmp_path: Path) -> None:
    write_tiff(photos / "4 map.tif", (64, 96), [(LEFT, YELLOW)], tile=64, tags=geotiff_tags(1, (0, 0)))

    done = run(model, photos, "--save", "geojson", "--out", tmp_path / "found")

    assert done.exit_code == 1
    assert done.stderr.count("expected a GeoTIFF") == 3
    assert [each.name for each in (tmp_path / "found" / "geojson").iterdir()] == ["4 map.tif.geojson"]
