"""Uses of lookonce that a type checker accepts or rejects. Only mypy reads this file; it never runs.

An unneeded `type: ignore` is an error itself, so both kinds of lines are checked.
"""

# mypy: enable-error-code="arg-type, assignment, call-overload, index, operator, return-value, union-attr"

from pathlib import Path

import lookonce
from lookonce import Detections, Detector


def train_and_use(pixels: bytes) -> float:
    trained = lookonce.train("data/", out="runs/a", size=320, minutes=2, assignments={"width": 0.5})
    lookonce.train(Path("data"), size=(320, 416), batch=8, model="yolov3-tiny", weights="coco")
    assert trained.model is not None
    measured = lookonce.evaluate("runs/a", "data/", split="val", tiles=(2, 2), device="cpu")
    lookonce.evaluate(trained.model, Path("data"), size="320x416")
    made = lookonce.export("coco", to="onnx", out="a.onnx", nms=True, conf={"dog": 0.4})
    with Detector.open(made.path, conf={"dog": 0.4}, size=(320, 416), device="cuda:1") as detector:
        one: Detections = detector("photo.jpg", classes="dog", conf=0.3)
        many: list[Detections] = detector(["photo.jpg", pixels])
    name, score, box = one[0]
    return measured.metrics.ap + score + box[0] + len(name) + len(many[0][:2]) + one.counts()["dog"]


def refused() -> None:
    lookonce.train("data/", epoch=3)  # type: ignore[call-arg]
    lookonce.train(3)  # type: ignore[arg-type]
    lookonce.evaluate("runs/a")  # type: ignore[call-arg]
    lookonce.export("coco", to="onxx")  # type: ignore[arg-type]
    Detector.open("a.onnx", confidence=0.4)  # type: ignore[call-arg]
    Detector.open("a.onnx", precision="fp16")  # type: ignore[arg-type]
    Detector.open("a.onnx")("photo.jpg", conf="high")  # type: ignore[call-overload]
    lookonce.detect  # type: ignore[attr-defined]  # noqa: B018
