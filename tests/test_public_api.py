"""The contents and the time of `import lookonce`."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import lookonce

PUBLIC = [
    "Detections",
    "Detector",
    "Explainer",
    "Frame",
    "LookonceError",
    "ModelInfo",
    "Sources",
    "annotate",
    "evaluate",
    "export",
    "read_image",
    "train",
    "write_image",
]


def test_the_public_names_are_listed() -> None:
    assert lookonce.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(lookonce))
    for name in PUBLIC:
        assert getattr(lookonce, name).__name__.removeprefix("lookonce.") == name


def test_the_version_is_the_installed_one() -> None:
    assert lookonce.__version__ == version("lookonce")
    assert "__version__" in dir(lookonce)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lookonce' has no attribute 'YOLO'"):
        lookonce.YOLO  # type: ignore[attr-defined]  # noqa: B018


def test_the_stub_is_up_to_date() -> None:
    """If this fails, run `python scripts/api_types.py`."""
    root = Path(__file__).parents[1]
    path = str(root / "scripts")
    found = run(f"import sys; sys.path.insert(0, {path!r}); import api_types; print(api_types.stub())")
    assert (root / "src" / "lookonce" / "__init__.pyi").read_text().strip() == found


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("numpy", "cv2", "onnxruntime", "torch", "typer", "pydantic")

    assert run(f"import sys, lookonce; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_every_name_loads_without_torch() -> None:
    block = "import sys; sys.modules['torch'] = None;"

    assert run(f"{block} from lookonce import *; print(Detector.__name__)") == "Detector"
