"""The pages of the documentation: their examples run, and their links exist.

Each page starts in a new folder with these files:

    my-images/                 COCO, with train, val and test; classes disc, bar, ring
    photos/                      dog.jpg and two more images; photo.jpg
    annotations/                 COCO, one box on photos/dog.jpg
    model.safetensors            a small yolov3-tiny for these classes; also runs/mine/best.safetensors
    model.cfg .weights .names    the same as Darknet files
    model.onnx                   the same as an ONNX file
    one-channel.cfg              the same network, with one channel
    cells-16bit.tif stack.tif map.tif    16 bits; three pages; a GeoTIFF

Its fenced blocks run in order: `python` in one namespace, and `console` line by line, for lines that start
with `$ `. Blocks that must not run, because they take long or need the internet, are fenced as `text`; the
options of the commands in them must exist.
"""

import os
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from lookonce.annotations import write_samples
from lookonce.cli import DATA_VERBS, VERBS, app, load
from lookonce.darknet.cache import cached_onnx
from lookonce.images import write_image
from lookonce.model.darknet_io import save_darknet
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.samples import Sample, SampleSet
from tests.data.drawn_samples import INFO, draw_samples
from tests.tiffs import geotiff_tags, write_tiff

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
# pages with tests of their own, which check the results in detail on real images
TESTED_IN = {
    "annotation-formats.md": "tests/docs/test_annotation_formats.py",
    "darknet.md": "tests/docs/test_darknet.py",
    "detect.md": "tests/docs/test_detect_pages.py",
    "how-yolov3-works.md": "tests/docs/test_how_yolov3_works.py",
    "python.md": "tests/docs/test_detect_pages.py",
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return (language, content) of every fenced block."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(block: str) -> list[str]:
    """Return the typed commands of a console block; a backslash continues a command on the next line."""
    return re.findall(r"^\$ (.+)$", block.replace("\\\n", " "), re.MULTILINE)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder that is copied for every page."""
    folder = tmp_path_factory.mktemp("prepared")
    drawn = draw_samples(folder / "drawn", 9)
    splits = {"train": drawn[:5], "val": drawn[5:7], "test": drawn[7:]}
    sets = {name: SampleSet(INFO.names, samples, [], "drawn") for name, samples in splits.items()}
    write_samples(sets, "coco", folder / "my-images")
    noise = np.random.default_rng(1)
    for name in ("photos/dog.jpg", "photos/kite.jpg", "photos/street.png", "photo.jpg"):
        write_image(folder / name, noise.integers(0, 256, (90, 120, 3), np.uint8))
    box = Sample(folder / "photos/dog.jpg", np.array([[10, 10, 60, 50]], np.float32), np.zeros(1, np.int64))
    write_samples({"train": SampleSet(INFO.names, [box], [], "drawn")}, "coco", folder / "annotations")
    _write_models(folder)
    deep = noise.integers(0, 4096, (90, 120), np.uint16)
    Image.fromarray(deep).save(folder / "cells-16bit.tif")
    Image.fromarray(deep).save(folder / "stack.tif", save_all=True, append_images=[Image.fromarray(deep)] * 2)
    write_tiff(folder / "map.tif", (700, 900), big=True, tags=geotiff_tags(0.5, (500_000, 5_400_000)))
    return folder


def _write_models(folder: Path) -> None:
    torch.manual_seed(0)
    info = replace(INFO, width=0.125)
    network = build(info).eval()
    for name in (
        "model.safetensors",
        "best.safetensors",
        "runs/mine/best.safetensors",
    ):
        save_model(folder / name, network.state_dict(), info)
    for name in ("model.cfg", "yolov3-tiny.cfg"):
        save_darknet(folder / name, network, info)
    one_channel = (folder / "model.cfg").read_text().replace("channels=3", "channels=1")
    (folder / "one-channel.cfg").write_text(one_channel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKONCE_CACHE", str(folder / "cache"))
        shutil.copy(cached_onnx(folder / "model.cfg"), folder / "model.onnx")


@pytest.fixture
def desk(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the folder for a page, and change to it; commands use this lookonce and this Python."""
    folder = tmp_path / "desk"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOOKONCE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in TESTED_IN], ids=lambda page: page.name)
def test_the_examples_run(page: Path, desk: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for language, content in blocks(page):
        if language == "python":
            exec(compile(content, str(page), "exec"), names)
        elif language == "console":
            for command in commands(content):
                program, *words = shlex.split(command)
                assert (program, set(command) & set("|&;<>*?$")) == ("lookonce", set()), "needs a shell"
                ran = CliRunner().invoke(app, words, catch_exceptions=False)  # starts anew per process
                assert ran.exit_code == 0, f"{command}\n{ran.output}"


@pytest.mark.parametrize(("page", "test"), TESTED_IN.items())
def test_a_page_left_out_here_is_tested_elsewhere(page: str, test: str) -> None:
    assert (DOCS / page).exists()
    assert page in (ROOT / test).read_text(encoding="utf-8")


def shown() -> list[tuple[str, str]]:
    """Return (page, command) of every `lookonce` command on a page, also of those that do not run."""
    content = [(page.name, text) for page in PAGES for language, text in blocks(page) if language != "python"]
    return [
        (page, command)
        for page, text in content
        for command in re.findall(r"^(?:\$ )?(?:\w+=\S+ )?(lookonce .+)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize(("page", "command"), shown())
def test_every_command_shown_exists(page: str, command: str) -> None:
    words = shlex.split(command.partition(" > ")[0], comments=True)[1:]
    verb, prefix, verbs = typer.main.get_command(app), "", VERBS
    while verbs and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in verbs, f"{page}: no command {name}"
        verb = load(prefix + name)
        prefix, verbs = ("data_", DATA_VERBS) if name == "data" else ("", {})
    known = {name for parameter in verb.params for name in parameter.opts} | {"--help"}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{page}: {command}"


def without_code(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_linked_pages_and_sections_exist(page: Path) -> None:
    text = without_code(page)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"\w+:", target):
            continue  # another site
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}"


def test_the_index_lists_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[.+?\]\((.+?)\)", index, re.MULTILINE)
    assert sorted(listed) == [page.name for page in PAGES if page.parent == DOCS and page.stem != "index"]
