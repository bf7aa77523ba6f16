"""The licenses of all packages installed by `pip install lookonce`, compared with docs/licenses.md."""

import ctypes
import re
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import cv2
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).resolve().parents[1] / "docs" / "licenses.md"
VIRAL = re.compile(r"\bA?GPL|GNU (Affero )?General Public|Affero")
FORBIDDEN = {"libx264", "libx265", "libxvidcore", "libpostproc", "libfdk-aac"}  # GPL, or make FFmpeg GPL


def base_install() -> dict[str, Distribution]:
    """Return all distributions that lookonce without extras needs on this platform, by name."""
    found: dict[str, Distribution] = {}
    todo = ["lookonce"]
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in found:
            found[name] = distribution(name)
            wanted = map(Requirement, found[name].requires or [])
            todo += [each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    del found["lookonce"]
    return found


def license(package: Distribution) -> str:
    metadata = package.metadata
    classifiers = [each for each in metadata.get_all("Classifier") or [] if each.startswith("License ::")]
    return metadata["License-Expression"] or "; ".join(classifiers) or metadata["License"] or ""


def bundled(package: Distribution) -> set[str]:
    """Return the names of shared libraries in a wheel, without version and hash."""
    files = [each for each in package.files or [] if re.search(r"\.(libs|dylibs)/", each.as_posix())]
    return {re.split(r"[-.]", each.name)[0] for each in files if each.suffix != ".py"}


def table(heading: str) -> dict[str, str]:
    """Return the first and last column of the table below a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): cells[-1].strip() for cells in rows}


def test_the_page_lists_every_package_of_the_base_install() -> None:
    assert set(base_install()) - set(table("Packages")) == set()


def test_no_package_of_the_base_install_is_gpl() -> None:
    licenses = {name: license(package) for name, package in base_install().items()}
    assert all(licenses.values())
    assert not [name for name, text in licenses.items() if VIRAL.search(text)]


def test_the_page_lists_every_bundled_library() -> None:
    libraries = set.union(*map(bundled, base_install().values()))
    listed = table("Bundled libraries")
    assert libraries - set(listed) == set()
    assert libraries & FORBIDDEN == set()
    assert not [name for name, text in listed.items() if VIRAL.search(text) and "exception" not in text]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into the libraries of the Linux wheel")
def test_the_bundled_ffmpeg_is_lgpl() -> None:
    folder = Path(cv2.__file__).parents[1] / "opencv_python_headless.libs"
    (library,) = folder.glob("libavutil-*")
    avutil = ctypes.CDLL(str(library))
    avutil.avutil_license.restype = avutil.avutil_configuration.restype = ctypes.c_char_p
    assert avutil.avutil_license().decode().startswith("LGPL")
    assert "--enable-gpl" not in avutil.avutil_configuration().decode()
