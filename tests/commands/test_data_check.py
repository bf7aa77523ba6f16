"""`lookonce data check` as a user types it, and its page in a browser."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.cli import main
from lookonce.doctor.finding_images import finding_image, window
from lookonce.doctor.findings import Finding
from lookonce.images import write_image
from lookonce.samples import Sample
from tests.browser import DESKTOP, PHONE, opened
from tests.command_line import invoke
from tests.darknet.kinds import KINDS
from tests.doctor.faults import EXPECTED, SOUND, Voc, drawn, everything_wrong
from tests.tiny_onnx import BLACK, MAGENTA, YELLOW, image, write_tiny_model

HOSTILE = "<img src=x onerror=alert(1)>"


run = partial(invoke, "data", columns=100)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faulty")
    return everything_wrong(folder / "voc", folder)


@pytest.fixture(scope="module")
def report(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a report with all kinds of findings; return its folder."""
    out = tmp_path_factory.mktemp("report")
    assert run("check", faulty, "--out", out).exit_code == 1
    return out


def sound(folder: Path, count: int = 60) -> Path:
    voc = Voc(folder)
    for number in range(count):
        voc.add(f"{number}.jpg", content=drawn(number))
    return voc.finish(["cat"])


def test_a_sound_set_exits_with_0(tmp_path: Path) -> None:
    found = run("check", sound(tmp_path / "voc"), "--out", tmp_path / "out")
    assert found.exit_code == 0
    assert "0 to decide, 0 worth a look, 0 for information" in found.stdout
    assert "No defects found" in (tmp_path / "out" / "report.html").read_text()


def test_findings_to_decide_exit_with_1(report: Path) -> None:
    tree: dict[str, Any] = json.loads((report / "findings.json").read_text())
    assert tree["counts"] == EXPECTED
    assert len(tree["findings"]) == sum(EXPECTED.values())
    empty = next(each for each in tree["findings"] if each["kind"] == "empty")
    assert (empty["severity"], empty["boxes"]) == ("look", [[50, 60, 50, 60]])
    assert empty["image"].endswith("empty-box.jpg")


def test_findings_in_a_zip_name_the_zip(
    faulty: Path, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    archive = Path(shutil.make_archive(str(tmp_path / "voc"), "zip", faulty.parent, faulty.name))
    assert run("check", archive, "--out", tmp_path / "out").exit_code == 1
    in_folder, in_zip = (
        json.loads((each / "findings.json").read_text())["findings"] for each in (report, tmp_path / "out")
    )
    expected = {(each["kind"], each["place"].replace(str(faulty), str(archive))) for each in in_folder}
    assert {(each["kind"], each["place"]) for each in in_zip} == expected


def test_findings_are_written_as_json(faulty: Path, tmp_path: Path) -> None:
    found = run("check", faulty, "--out", tmp_path, "--json", "-", "--model", "yolov3", "--size", "320x416")
    tree = json.loads(found.stdout)
    assert tree["network"] == {"model": "yolov3", "size": [320, 416]}
    assert tree["counts"]["leak"] == 1


def test_findings_are_printed_in_words(faulty: Path, tmp_path: Path) -> None:
    found = run("check", faulty, "--out", tmp_path)
    assert "Unusual color modes: 2 (worth a look)" in found.stdout
    assert "Images of more than 8 bits: 1 (for information)" in found.stdout
    assert "empty-box.xml:7: object 2: [50, 60, 50, 60] has no area" in found.stdout
    assert "Input size: Objects below 12 pixels: " in found.stdout
    assert f"to train on it: lookonce train {faulty} --size " in found.stderr


def test_anchors_are_advised_for_random_weights_only(faulty: Path, tmp_path: Path) -> None:
    built_in, named = (
        run("check", faulty, "--out", tmp_path / "out", "--force", *model)
        for model in ([], ["--model", "yolov3-tiny"])
    )
    assert "weights that belong to them" in built_in.stdout
    assert "anchors=data" not in built_in.stdout + built_in.stderr
    assert "Try k-means (--set anchors=data)" in named.stdout
    assert "--set anchors=data --out runs/mine" in named.stderr


def test_advice_on_a_cfg_is_about_its_own_anchors_and_cells(faulty: Path, tmp_path: Path) -> None:
    cfg = tmp_path / "my.cfg"
    cfg.write_text(KINDS["mobilenet"])  # one scale, of stride 32
    found = run("check", faulty, "--out", tmp_path / "a", "--model", str(cfg))
    assert f"a cell of {cfg}'s finest grid" in found.stdout
    assert "below 32 pixels" in found.stdout
    assert "with the model's own anchors" in found.stdout
    command = found.stderr.partition("to train on it: ")[2].splitlines()[0]
    assert f"--model {cfg}" in command


def test_the_command_to_train_keeps_the_options_given(faulty: Path, tmp_path: Path) -> None:
    found = run("check", faulty, "--out", tmp_path / "a", "--model", "yolov3", "--size", "320x416",
                "--fix", tmp_path / "my fixed")  # fmt: skip
    command = found.stderr.partition("to train on it: ")[2].splitlines()[0]
    words = shlex.split(command)
    assert words[:7] == ["lookonce", "train", words[2], "--model", "yolov3", "--size", "320x416"]
    assert words[2].startswith(str(tmp_path / "my fixed"))
    assert words[-2:] == ["--out", "runs/mine"]


def test_the_corrected_copy_has_nothing_left_to_fix(faulty: Path, tmp_path: Path) -> None:
    found = run("check", faulty, "--out", tmp_path / "a", "--fix", tmp_path / "fixed")
    assert found.exit_code == 1
    assert f"corrected copy: {tmp_path / 'fixed'}; 12 changes, 15 left" in found.stderr
    again = json.loads(run("check", tmp_path / "fixed", "--out", tmp_path / "b", "--json", "-").stdout)
    assert not {"empty", "exif", "suffix", "color", "identical", "border"} & again["counts"].keys()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("no-such-folder", "expected annotations, found no such file or folder"),
        ("{voc} --size 417", "--size: expected a size like 416"),
        (
            "{voc} --model yolov4",
            "model: expected yolov3, yolov3-spp, yolov3-tiny, yolov3-tiny-3l, or a .cfg, found 'yolov4'",
        ),
        ("{voc} --detector {voc}/none.onnx", "none.onnx"),
        ("{voc} --fix {voc}", "expected a new or empty folder, found files"),
        ("{voc} --fix {out}", "expected a place for the report outside the corrected copy"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    faulty: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    what: str,
) -> None:
    typed = words.format(voc=faulty, out=tmp_path).split()
    monkeypatch.setattr("sys.argv", ["lookonce", "data", "check", *typed, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert what in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_reported_and_leaves_nothing(
    faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lookonce.doctor.images.inspect", stop)
    found = run("check", faulty, "--out", tmp_path / "out", "--fix", tmp_path / "fixed")
    assert found.exit_code == 130
    assert "stopped: " in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_finds_doubtful_labels(tmp_path: Path) -> None:
    """Of three objects, one is labeled, one is not, one has the wrong class; a box is on the background."""
    voc = Voc(tmp_path / "voc")
    cells = image((64, 96), ((0, 0, 32, 32), YELLOW), ((32, 0, 64, 32), YELLOW), ((64, 32, 96, 64), MAGENTA))
    rows = [("green", 0, 0, 32, 32), ("green", 64, 32, 96, 64), ("blue", 0, 32, 32, 64)]
    voc.add("a.png", rows, content=cells, size=(96, 64, 3))
    model = write_tiny_model(tmp_path / "model.onnx")
    found = run(
        "check", voc.finish(["blue", "green"]), "--detector", model, "--out", tmp_path / "out", "--json", "-"
    )
    tree = json.loads(found.stdout)
    whats = {each["kind"]: each["what"] for each in tree["findings"]}
    assert tree["network"]["model"] == "cells"
    assert whats["missing-box"] == "green 1.00 at [32, 0, 64, 32], but no box"
    assert whats["doubtful-class"] == "labeled 'green', detected as 'blue' 1.00"
    assert whats["unfound-box"] == "blue: no detection near it"
    assert tree["counts"]["unfound-box"] == tree["counts"]["missing-box"] == 1
    assert "keep the model's own ones" in tree["advice"]["anchors"]  # without published results
    assert "published" not in tree["advice"]["anchors"]


def test_a_model_of_other_classes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add("a.jpg")
    model = write_tiny_model(tmp_path / "model.onnx")
    typed = ["check", voc.finish(), "--detector", model, "--out", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["lookonce", "data", *map(str, typed)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "expected classes that the model knows, found none: the model has" in capsys.readouterr().err


def test_statistics_have_a_page(faulty: Path, tmp_path: Path) -> None:
    found = run("stats", faulty, "--out", tmp_path)
    assert f"page: {tmp_path / 'stats.html'}" in found.stderr
    page = (tmp_path / "stats.html").read_text()
    assert "Shapes and anchors" in page
    with opened(tmp_path / "stats.html", PHONE) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        assert seen.page.locator("svg.map").count() == 2
        assert seen.errors == seen.requests == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_page_shows_every_kind_of_finding(report: Path, size: tuple[int, int]) -> None:
    with opened(report / "report.html", size, dark=size == PHONE) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert seen.page.locator(".kind").count() == len(EXPECTED)
        seen.page.click("a[href='#empty']")
        figure = seen.page.locator("#empty figure")
        seen.page.wait_for_function("document.querySelector('#empty img').naturalWidth > 100", timeout=10_000)
        assert "empty-box.xml:7: object 2" in figure.inner_text()
        assert "The image cannot be shown" in seen.page.locator("#truncated").inner_text()
        assert seen.errors == seen.requests == []


def test_the_page_works_by_keyboard_alone(report: Path) -> None:
    with opened(report / "report.html") as seen:
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("document.activeElement.id") == "main"
        seen.page.locator("#leak summary").focus()
        seen.page.keyboard.press("Enter")
        assert seen.page.locator("#leak details li").is_visible()


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    """Names of files and classes are shown as text everywhere."""
    voc = Voc(tmp_path / "voc")
    written = "&lt;script&gt;alert(2)&lt;/script&gt;"
    voc.add("a.jpg", [(written, 40, 30, 140, 120), ("dog", 41, 30, 140, 120)])
    voc.add(f"{HOSTILE}.jpg", [(written, 50, 50, 90, 90), (f"{written}&amp;", 1, 1, 9, 9)], content=b"<html>")
    data = voc.finish(["<script>alert(2)</script>", "dog"])
    for verb, name, shown in (
        ("check", "report.html", ["'dog' on '<script>alert(2)</script>'", f"{HOSTILE}.jpg"]),
        ("stats", "stats.html", ["<script>alert(2)</script>"]),
    ):
        run(verb, data, "--out", tmp_path / "out")
        with opened(tmp_path / "out" / name) as seen:
            seen.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            text = seen.page.inner_text("main")
            assert all(each in text for each in shown)
            assert seen.page.locator("script, img[src='x']").count() == 0
            assert seen.errors == seen.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
def test_a_name_that_is_not_unicode_is_printed_escaped(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    voc.image("caf\udce9.jpg").write_bytes(b"no image")
    voc.annotate("caf\udce9", SOUND, (240, 180, 3))
    words = [sys.executable, "-m", "lookonce", "data", "check", voc.folder, "--out", tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 1, done.stderr
    assert rb"caf\udce9.jpg" in done.stdout
    assert r"caf\udce9.jpg" in (tmp_path / "out" / "report.html").read_text()


def test_huge_coordinates_do_not_hide_the_image(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add(
        "a.jpg", [("cat", 40, 30, 1e308, 1e308), ("cat", 1e308, 1, 1e308, 9), ("cat", 1e300, 1e300, 1, 1)]
    )
    assert run("check", voc.finish(), "--out", tmp_path / "out").exit_code == 1
    assert (tmp_path / "out" / "report.html").read_text().count("The image cannot be shown") == 0


def test_a_set_without_a_usable_image_says_why(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add("a.jpg", [("cat", 140, 120, 40, 30)])
    found = run("check", voc.finish(), "--out", tmp_path / "out", "--fix", tmp_path / "fixed")
    assert found.exit_code == 1
    assert "is inverted" in found.stdout
    assert "its only box is not usable" in (tmp_path / "out" / "report.html").read_text()


def test_a_missing_image_with_an_impossible_name_is_reported(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "nul\0byte.jpg"}, {"id": 2, "file_name": "a.jpg"}]
    write_image(tmp_path / "a.jpg", drawn(0))
    tree = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "train.json").write_text(json.dumps(tree))
    assert run("check", tmp_path / "train.json", "--out", tmp_path / "out").exit_code == 1
    assert "The image cannot be shown" in (tmp_path / "out" / "report.html").read_text()


def test_small_boxes_are_shown_enlarged() -> None:
    size = 1000, 2000
    assert window(np.array([[0, 0, 600, 10]], np.float32), size) == (0, 0, 2000, 1000)
    assert window(np.array([[500, 500, 520, 510]], np.float32), size) == (450, 445, 570, 565)
    assert window(np.array([[1990, 0, 2000, 4]], np.float32), size) == (1936, 0, 2000, 64)
    assert window(np.zeros((0, 4), np.float32), size) == (0, 0, 2000, 1000)
    assert window(np.array([[np.nan] * 4], np.float32), size) == (0, 0, 2000, 1000)


@pytest.mark.parametrize(("values", "brightest"), [((0.0, 4095.0), 255), ((0.0, 65535.0), 16)])
def test_a_deep_image_is_shown_in_the_range_of_the_data(
    tmp_path: Path, values: tuple[float, float], brightest: int
) -> None:
    write_image(tmp_path / "a.png", np.full((300, 400, 3), 4095, np.uint16))
    finding = Finding("deep", "", "", tmp_path / "a.png")
    pair = Finding("copy", "", "", tmp_path / "a.png", others=(tmp_path / "a.png",))
    for each in (finding, pair):
        image = finding_image([each], {}, values)
        assert image is not None
        assert image[0, 0].tolist() == image[-1, -1].tolist() == [brightest] * 3


def test_a_box_without_area_is_still_marked_red(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((300, 400, 3), BLACK, np.uint8))
    sample = Sample(tmp_path / "a.png", np.array([[100, 100, 200, 200]], np.float32), np.array([0]))
    finding = Finding("empty", "", "", tmp_path / "a.png", ((150.0, 150.0, 150.0, 150.0),))
    image = finding_image([finding], {sample.path: sample})
    assert image is not None
    red = (image == (255, 59, 48)).all(axis=2)
    rows, columns = np.nonzero(red)
    assert (abs(rows.mean() - image.shape[0] / 2), abs(columns.mean() - image.shape[1] / 2)) < (2, 2)
    assert red.sum() > 30
