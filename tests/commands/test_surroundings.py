"""Commands in unusual surroundings: the user, the home folder, the working folder, other processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lookonce.detections import Detections
from lookonce.images import read_image, write_image
from lookonce.runtime.detector import Detector
from tests.export.models import write_model
from tests.hostile.inputs import CONVOLUTION, NET, YOLO, cfg, endless, zipped
from tests.tiny_onnx import YELLOW, image, write_tiny_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="users, mounts and FIFOs as Linux has them")

LOOKONCE = [sys.executable, "-m", "lookonce"]
STRANGER = 54_321  # a user id without an entry in /etc/passwd
AS_STRANGER = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups")
COMMANDS = [
    "detect model.onnx photo.png --out new/detected",
    "detect small.cfg photo.png --out new/darknet",
    "data check lines.txt --names names.txt --out new/checked",
    "data convert set.zip --to coco --out new/converted",
    "tune model.onnx --data lines.txt --names names.txt",
    pytest.param(
        "train lines.txt --names names.txt --out new/run --model yolov3-tiny --size 64 --epochs 1",
        marks=pytest.mark.slow,
    ),
    "models",
]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Write a model, an annotated image, and a zip of that data."""
    write_tiny_model(tmp_path / "model.onnx")
    cfg(NET.format(32, 32) + CONVOLUTION.format(6) + YOLO, bytes(96))(tmp_path / "small.cfg")
    write_image(tmp_path / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (tmp_path / "lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (tmp_path / "names.txt").write_text("green\nblue\n")
    photo, names = (tmp_path / "photo.png").read_bytes(), b"green\nblue\n"
    box = b"0 0.5 0.5 0.3 0.3\n"
    files = [("images/a.png", photo), ("labels/a.txt", box), ("classes.txt", names)]
    (tmp_path / "set.zip").write_bytes(zipped(*files))
    return tmp_path


def run(
    command: str, desk: Path, prefix: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without HOME and cache, unless they are given."""
    left_out = ("HOME", "LOOKONCE_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [*prefix, *LOOKONCE, *command.split()],
        cwd=desk,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Return a folder that other users can read, unlike that of pytest."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.parametrize("home", [None, "locked"])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work_for_a_user_without_an_entry_or_a_home(
    command: str, home: str | None, desk: Path, open_to_all: Path
) -> None:
    desk = shutil.copytree(desk, open_to_all / "desk")
    (desk / "locked").mkdir(mode=0o555)
    os.chown(desk, STRANGER, STRANGER)
    if subprocess.run([*AS_STRANGER, sys.executable, "-c", "1"], cwd=desk, capture_output=True).returncode:
        pytest.skip("no right to become another user, or Python is not for others")
    given = {} if home is None else {"HOME": str(desk / home)}
    done = run(command, desk, AS_STRANGER, **given)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    if command.startswith(("data convert", "detect small.cfg", "tune")):  # need the cache
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith("lookonce: ")
        assert ("HOME" if home is None else str(desk / "locked")) in last
    else:
        assert done.returncode in (0, 1), done.stderr
    assert list((desk / "locked").iterdir()) == []


def test_of_two_conversions_into_one_folder_one_is_refused(desk: Path) -> None:
    """One of them is rejected, and no file of the other one is lost."""
    with (desk / "many.txt").open("w") as lines:
        for number in range(400):
            shutil.copy(desk / "photo.png", desk / f"{number}.png")
            lines.write(f"{number}.png 32,32,64,64,0\n")
    command = "data convert many.txt --names names.txt --to yolo --out out"
    words = [*LOOKONCE, *command.split()]
    both = [subprocess.Popen(words, cwd=desk, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=120)[1] for each in both]
    assert sorted(each.returncode for each in both) == [0, 2]
    refused = said[next(n for n, each in enumerate(both) if each.returncode == 2)]
    assert "is writing there" in refused or "expected a new or empty folder" in refused
    labels = [path.read_text() for path in (desk / "out").rglob("labels/**/*.txt")]
    assert len(labels) == 400
    assert all(labels)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system at `out`, if the machine allows it."""
    (place := tmp_path / "out").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("no right to mount")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no program to mount")
def test_out_may_be_a_mount_point(desk: Path, mount: Path) -> None:
    for command in (
        "data convert lines.txt --names names.txt --to yolo --out out",
        "detect model.onnx photo.png --out out",
        "export coco --to onnx --out out/new.onnx",
    ):
        done = run(command, desk, HOME=str(desk))
        assert done.returncode == 0, done.stderr
    assert {"data.yaml", "detections.json", "new.onnx"} <= {path.name for path in mount.iterdir()}


@pytest.mark.skipif(shutil.which("mount") is None, reason="no program to mount")
@pytest.mark.parametrize(
    "command",
    [
        "rename model.onnx green=b --out out/renamed.onnx",
        "data check lines.txt --names names.txt --out out/checked",
        pytest.param(
            "tune cats.safetensors --data lines.txt --names cats.txt --rounds 1 --max-drop 1 --out out/tuned",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "bench cats.safetensors --rounds 1 --against onnxruntime --out out/bench", marks=pytest.mark.slow
        ),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_file(command: str, desk: Path, mount: Path) -> None:
    write_model(desk / "cats.safetensors")
    (desk / "cats.txt").write_text("cat\ndog\neel\n")
    subprocess.run(["mount", "-o", "remount,size=32k", mount], check=True)
    with suppress(OSError), (mount / "rest").open("wb") as rest:
        rest.write(bytes(1 << 20))
    done = run(command, desk, HOME=str(desk))
    assert done.returncode == 2
    assert re.match(r"lookonce: .*out/\S+: .*No space left", done.stderr.splitlines()[-1]), done.stderr
    assert [path.name for path in mount.rglob("*") if path.is_file()] == ["rest"]


def test_the_longest_names_and_deepest_folders_work(desk: Path) -> None:
    stem = "n" * 240
    shutil.copy(desk / "photo.png", desk / f"{stem}.png")
    (desk / "long.txt").write_text(f"{stem}.png 32,32,64,64,0\n")
    for command in (
        f"detect model.onnx {stem}.png --save images,json,csv,coco --out detected",
        "data convert long.txt --names names.txt --to voc --out voc",
        "data check long.txt --names names.txt --out checked",
    ):
        done = run(command, desk, HOME=str(desk))
        assert done.returncode in (0, 1), done.stderr
    assert (desk / "detected" / "annotated" / f"{stem}.png").exists()
    descriptor = os.open(desk, os.O_RDONLY)
    for _ in range(5000):  # longer than any path may be
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    for command in (
        "detect model.onnx . --out flat",
        "data check . --out tree",
        "detect model.onnx **/*.png",
    ):
        done = run(command, desk, HOME=str(desk))
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1, 2)
    subprocess.run(["rm", "-rf", desk / "d"], check=True)


@pytest.mark.parametrize("stuck", ["a model", "a reader"])
def test_the_second_ctrl_c_ends_detect_while_a_worker_is_stuck(stuck: str, desk: Path) -> None:
    endless(desk / "endless.onnx")
    os.mkfifo(desk / "fifo.png")
    model = "endless.onnx" if stuck == "a model" else "model.onnx"
    # FIFOs are rejected, so the reader is changed to open one
    code = (
        "import lookonce.runtime.sources as sources\n"
        "sources.read_or_reduce = lambda *arguments: open('fifo.png', 'rb').read()\n"
    )
    script = f"{code if stuck == 'a reader' else ''}from lookonce.cli import main\nmain()\n"
    command = [sys.executable, "-c", script, "detect", model, "photo.png", "photo.png", "--out", "out"]
    with subprocess.Popen(command, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert b"letterbox" in process.stderr.readline()
            time.sleep(2)  # now the command is blocked
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()


def test_a_detector_works_in_forked_children_if_it_is_opened_there(desk: Path) -> None:
    """Some servers fork their workers, such as gunicorn with and without `--preload`."""
    detector = Detector.open(desk / "model.onnx", threads=1)
    pixels = image((96, 96), ((32, 32, 64, 64), YELLOW))
    expected = detector(pixels)
    for opened in (True, False):
        child = os.fork()
        if child == 0:
            code = 3
            try:
                signal.alarm(60)
                mine = detector if opened else Detector.open(desk / "model.onnx")
                found: Detections = mine(pixels)
                code = 0 if found == expected else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "opened before" if opened else "after"


DETECT = "detect model.onnx photo.png --out out"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("recipes > /dev/full", 2, "lookonce: standard output: No space left on device\n"),
        ("models --json - > /dev/full", 2, "lookonce: standard output: No space left on device\n"),
        ("--help > /dev/full", 2, "lookonce: standard output: No space left on device\n"),
        ("models --json - >&-", 2, "lookonce: --json -: expected an open standard output, found it closed\n"),
        ("detect model.onnx nothing.png 2> /dev/full", 2, ""),
        ("detekt 2> /dev/full", 2, ""),
        ("detekt 2>&-", 2, ""),
        ("models | true", 141, ""),
        ("models --json - | true", 141, ""),
        ("--help | true", 141, ""),
        ("detect --help | true", 141, ""),
        ("data stats lines.txt --names names.txt --json - 2> messages.txt | true", 141, ""),
        (
            "detect model.onnx - <&-",
            2,
            "lookonce: -: expected data on standard input, found it closed\n",
        ),
    ],
)
def test_full_closed_and_unread_standard_streams_are_handled(
    command: str, code: int, said: str, desk: Path
) -> None:
    words = f"'{sys.executable}' -m lookonce {command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", words], cwd=desk, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("streams", ["2> /dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2> >(true)"])
def test_results_do_not_depend_on_the_standard_streams(streams: str, desk: Path) -> None:
    words = f"'{sys.executable}' -m lookonce {DETECT} {streams}"
    done = subprocess.run(["bash", "-c", words], cwd=desk, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "letterbox" not in done.stdout  # standard output has only results
    assert json.loads((desk / "out" / "detections.json").read_text())["images"]
    assert read_image(desk / "out" / "annotated" / "photo.png").shape == (96, 96, 3)
