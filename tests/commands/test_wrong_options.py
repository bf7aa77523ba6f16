"""A wrong value gives one line with the option, the expected and the found value; nothing is written.

`make hostile HOSTILE='--kind options'` tries every option of every command.
"""

from pathlib import Path

import pytest

from tests.command_line import lookonce
from tests.hostile.limits import state
from tests.hostile.options import WORDS, ready

STRANGE = "q\udcff"  # a byte that is not UTF-8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ready(tmp_path_factory.mktemp("options") / "desk")


@pytest.mark.parametrize(
    ("verb", "options", "line"),
    [
        (
            "train",
            "--size=65536",
            "--size: expected sides of at most 8192 and 8,388,608 pixels, found '65536'",
        ),
        ("train", "--epochs=9999999", "--epochs: expected less than or equal to 1000000, found 9999999"),
        ("train", "--set=workers=9999", "--set workers: expected less than or equal to 1024, found 9999"),
        ("train", "--set=width=x", "--set width: expected a number, found 'x'"),
        ("train", "--set=x", "--set 'x': expected name=value"),
        ("train", "--set==1", "--set '=1': expected name=value"),
        ("train", "--set=seed=2022-99-99", "--set seed=2022-99-99: not YAML: month must be in 1..12"),
        ("train", "--set=seed=" + "9" * 5000, "integer string conversion"),
        ("train", "--set=augment=" + "[" * 2000, "not YAML: maximum recursion depth exceeded"),
        ("train", "--set=anchors=[&a 1, *a]", "not YAML: aliases are not read"),
        (
            "train",
            "--set=freeze=99999",
            "freeze: expected nothing, backbone, a number of layers from 1 to 22",
        ),
        ("train", "--weights=photo.png", "photo.png: expected Darknet weights"),
        ("train", f"--out={STRANGE}", r"q\udcff: expected a path in UTF-8, found other bytes in it"),
        ("slim", "--minutes=-1", "--minutes: expected a number above 0 instead of --epochs, found -1"),
        ("slim", "--minutes=0", "--minutes: expected a number above 0 instead of --epochs, found 0"),
        ("train", "--minutes=nan", "--minutes: expected a number above 0 instead of --epochs, found nan"),
        ("slim", "--set=seed=x", "--set seed: expected a whole number, found 'x'"),
        ("advise", "--size=65536", "--size: expected sides of at most 8192"),
        ("data_anchors", "--size=1000000x32", "--size: expected sides of at most 8192"),
        ("data_check", "--size=65536", "--size: expected sides of at most 8192"),
        (
            "data_convert",
            "--classes=green=a|--classes=green=b",
            "expected one new name for green, found 'a' too",
        ),
        ("rename", "cat=cow|cat=sow", "cat=sow: expected one new name for cat, found 'cow' too"),
        ("detect", "--device=cpu:3", "--device: expected auto, cpu, cuda, mps, gpu, npu"),
        ("detect", "--coco-ids=lines.txt", "--coco-ids: expected coco among --save, found images,json"),
        ("explain", "--out=.", "--out: expected the name of a page, such as report.html, found ."),
        ("explain", "--names=names.txt", "--names: expected --truth with it, to name its classes"),
        ("explain", "--json=page.html", "page.html: expected one result for this file, found two"),
        (
            "export",
            f"--out={STRANGE}",
            r"q\udcff/cats.onnx: expected a path in UTF-8, found other bytes in it",
        ),
        ("export", f"--to=ncnn|--out={STRANGE}", "expected a path in UTF-8"),
        ("export", "--verify-on=" + "n" * 5000, "nnn: cannot be read: File name too long"),
        ("bench", "--batch=99999", "--batch: expected numbers from 1 to 1,024, such as 1,8, found '99999'"),
        ("bench", "--threads=1,x", "--threads: expected numbers from 1 to 1,024, such as 1,8, found '1,x'"),
        (
            "tune",
            "--weights=photo.png",
            "--weights: expected a Darknet .cfg as the model, found cats.safetensors",
        ),
        ("bench", "--rounds=1001", "--rounds: expected a number less than or equal to 1000, found '1001'"),
    ],
)
def test_a_wrong_value_is_one_line_and_writes_nothing(
    made: Path, verb: str, options: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    before = state(made)
    ran = lookonce(*WORDS[verb].split("|"), *options.split("|"))
    assert ran.returncode == 2
    (said,) = [each for each in ran.stderr.splitlines() if each.startswith("lookonce: ")]
    assert line in said
    assert state(made) == before


def test_a_model_whose_name_is_not_utf8_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    Path(STRANGE).with_suffix(".onnx").write_bytes(Path("cats.onnx").read_bytes())
    ran = lookonce("detect", f"{STRANGE}.onnx", "photo.png", "--out", "out")
    assert ran.returncode == 2
    assert ran.stderr == "lookonce: q\\udcff.onnx: expected a path in UTF-8, found other bytes in it\n"
    Path(STRANGE).with_suffix(".onnx").unlink()
