"""A command replaces only its own earlier results, and no other command writes there at the same time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lookonce import _outputs
from lookonce._files import replacing, replacing_together, write_text
from lookonce._outputs import HIDDEN, Lock, Outputs
from lookonce.errors import ConfigError

HOLD = """
import sys, time
from pathlib import Path
from lookonce._outputs import Outputs

with Outputs("test", folder=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def _results(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != HIDDEN)


def test_a_command_replaces_its_own_results(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with Outputs("test", folder=tmp_path / "out"):
            write_text(tmp_path / "out" / "sub" / "a.txt", text)
            write_text(tmp_path / "out" / "sub" / "a.txt", text + " again")
    assert (tmp_path / "out" / "sub" / "a.txt").read_text() == "second again"
    assert _results(tmp_path / "out") == ["sub"]


def test_a_foreign_file_is_kept_without_force(tmp_path: Path) -> None:
    (mine := tmp_path / "a.txt").write_text("mine")
    with (
        Outputs("test", folder=tmp_path, force=False),
        pytest.raises(ConfigError, match="not written by lookonce test; --force replaces it"),
    ):
        write_text(mine, "yours")
    assert mine.read_text() == "mine"
    with Outputs("test", folder=tmp_path, force=True):
        write_text(mine, "yours")
    assert mine.read_text() == "yours"


def test_a_resumed_run_replaces_any_file_in_its_folder_but_no_other(tmp_path: Path) -> None:
    inside, outside, given = tmp_path / "run" / "a.txt", tmp_path / "b.txt", tmp_path / "run" / "c.txt"
    inside.parent.mkdir()
    for path in (inside, outside, given):  # without a list of written files, as on another machine
        path.write_text("earlier")
    with Outputs("test", folder=tmp_path / "run", inputs=[given], resume=True):
        write_text(inside, "new")
        with pytest.raises(ConfigError, match="an input of this run"):
            write_text(given, "new")
    with (
        pytest.raises(ConfigError, match="was not written by lookonce test"),
        Outputs("test", folder=tmp_path / "run", files=[outside], resume=True),
    ):
        pass
    assert [path.read_text() for path in (inside, outside, given)] == ["new", "earlier", "earlier"]


def test_the_rule_holds_below_a_folder_with_a_hidden_name(tmp_path: Path) -> None:
    out = tmp_path / f"{HIDDEN}-runs" / "out"
    out.mkdir(parents=True)
    (mine := out / "a.txt").write_text("mine")
    for outputs in (Outputs("test", folder=out), Outputs("test", files=[mine])):
        with pytest.raises(ConfigError, match="not written by lookonce test"), outputs:
            write_text(mine, "yours")
    with Outputs("test", folder=out, inputs=[mine], force=True), pytest.raises(ConfigError, match="an input"):
        write_text(mine, "yours")


def test_a_file_of_another_command_is_foreign(tmp_path: Path) -> None:
    for number, command in enumerate(("one", "two", "one")):
        with Outputs(command, folder=tmp_path):
            if number == 1:
                with pytest.raises(ConfigError, match="not written by lookonce two; choose another place"):
                    write_text(tmp_path / "a.txt", command)
            else:
                write_text(tmp_path / "a.txt", command)


def test_a_result_edited_since_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with Outputs("test", files=[path]):
        write_text(path, "{}")
    path.write_text("edited by hand")
    with pytest.raises(ConfigError, match="was changed since"), Outputs("test", files=[path]):
        pass
    assert path.read_text() == "edited by hand"


def test_an_input_is_kept_even_with_force(tmp_path: Path) -> None:
    with Outputs("test", folder=tmp_path):
        write_text(tmp_path / "a.png", "image")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    os.link(tmp_path / "a.png", tmp_path / "same.png")
    for name in ("a.png", "link.png", "same.png"):
        with (
            Outputs("test", folder=tmp_path, inputs=[tmp_path / "a.png"], force=True),
            pytest.raises(ConfigError, match="an input of this run"),
        ):
            write_text(tmp_path / name, "annotated")
    assert (tmp_path / "a.png").read_text() == "image"


def test_the_partners_of_a_model_file_are_inputs(tmp_path: Path) -> None:
    for name in ("m.cfg", "m.weights"):
        (tmp_path / name).touch()
    with (
        Outputs("test", folder=tmp_path, inputs=[tmp_path / "m.cfg"], force=True),
        pytest.raises(ConfigError, match=r"m.weights: an input of this run"),
    ):
        write_text(tmp_path / "m.weights", "x")


def test_files_that_belong_together_are_replaced_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "m.weights").write_text("mine")
    with (  # noqa: PT012 - one act
        Outputs("test", folder=tmp_path),
        pytest.raises(ConfigError, match=r"m.weights: exists"),
        replacing_together(tmp_path / "m.cfg") as made,
    ):
        for suffix in (".cfg", ".weights"):
            made.with_suffix(suffix).write_text("x")
    assert _results(tmp_path) == ["m.weights"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds")
def test_devices_and_folders_are_refused_as_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/null")):
        with pytest.raises(ConfigError, match="expected a file"), Outputs("test", files=[path], force=True):
            pass
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a folder"), Outputs("test", folder=tmp_path / "file"):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="nobody may make a file in /proc")
def test_an_unwritable_folder_is_reported_with_the_file_name() -> None:
    with pytest.raises(ConfigError, match=r"^/proc/a\.json: cannot be written: No such file"):
        Outputs("test", files=[Path("/proc/a.json")]).__enter__()


def test_files_outside_the_folder_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with Outputs("test", folder=tmp_path / "elsewhere"):
        write_text(tmp_path / "a.txt", "new")
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208 - hidden files too


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConfigError, match=rf"process {holder.pid} on \S+ is writing there"),
            Outputs("test", folder=out),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    assert (out / f"{HIDDEN}.lock").exists(), "the kill leaves the file"
    with Outputs("test", folder=out):  # its lock is released anyway
        write_text(out / "a.txt", "a")
    assert _results(out) == ["a.txt"]


def test_a_process_does_not_write_a_folder_twice_at_once(tmp_path: Path) -> None:
    with (
        Outputs("test", folder=tmp_path),
        pytest.raises(ConfigError, match="this process is writing there already"),
        Outputs("test", folder=tmp_path / "." / ".." / tmp_path.name),
    ):
        pass
    with Outputs("test", folder=tmp_path), Outputs("test", folder=tmp_path / "below"):
        pass


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with Outputs("test", folder=tmp_path / "new" / "out"):
        assert (tmp_path / "new" / "out").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_lock_can_be_taken_again(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", tmp_path):
        pass
    with Lock(tmp_path / "lock", tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links as POSIX has them")
def test_links_swapped_in_after_the_check_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user with write access to the folder could swap them at the worst moment."""
    (mine := tmp_path / "mine.txt").write_text("mine")
    (out := tmp_path / "out").mkdir()
    with Outputs("test", folder=out, force=True):
        with replacing(out / "a.txt") as made:
            made.write_text("new")
            (out / "a.txt").symlink_to(mine)
        assert not (out / "a.txt").is_symlink()
        assert ((out / "a.txt").read_text(), mine.read_text()) == ("new", "mine")

        check = _outputs._check_plain

        def check_then_swap(path: Path) -> None:
            check(path)
            path.unlink(missing_ok=True)
            path.symlink_to(mine)

        monkeypatch.setattr(_outputs, "_check_plain", check_then_swap)
        with pytest.raises(OSError, match="symbolic links"):
            write_text(out / "b.txt", "new")
    assert mine.read_text() == "mine"
    assert not (out / "b.txt").exists()
