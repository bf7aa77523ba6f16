"""lookonce: a complete, readable YOLOv3 that you can train.

```python
from lookonce import Detector

detector = Detector.open("model.onnx")
for name, score, (left, top, right, bottom) in detector("street.jpg"):
    print(f"{name} {score:.2f} at {left:.0f}, {top:.0f}")
```

Importing these names never imports torch. Each is loaded on first use, so `import lookonce` takes almost no
time. Type checkers read `__init__.pyi`.
"""

import os
from importlib import import_module

# ONNX Runtime reads this when it is loaded; child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = [
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

_HOMES = {
    "Detections": "lookonce.detections",
    "Detector": "lookonce.runtime.detector",
    "Explainer": "lookonce.explain.explainer",
    "Frame": "lookonce.runtime.sources",
    "LookonceError": "lookonce.errors",
    "ModelInfo": "lookonce.metadata",
    "Sources": "lookonce.runtime.sources",
    "annotate": "lookonce.draw.boxes",
    "read_image": "lookonce.images",
    "write_image": "lookonce.images",
}


_COMMANDS = ("evaluate", "export", "train")  # packages that can be called like functions


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name in _COMMANDS:
        return import_module(f"lookonce.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
