"""AP on COCO by `lookonce evaluate`, compared with the AP of OpenCV's detections by pycocotools."""

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.command_line import invoke
from tests.darknet.oracle import needs_opencv_importer, opencv_detections

CONFIDENCE, IOU = 0.001, 0.45  # as in `lookonce evaluate`


@needs_opencv_importer
@pytest.mark.parametrize("name", ["MobileNetV2-YOLOv3-Nano-coco", "yolo-fastest-1.1-xl"])
def test_evaluate_gives_the_ap_of_opencvs_detections(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    cfg, sample = data / "darknet" / f"{name}.cfg", data / "voc_sample"

    words = ["evaluate", cfg, sample, "--split", "val", "--out", tmp_path / "report"]
    found = invoke(*words)

    assert found.exit_code == 0
    numbers = json.loads((tmp_path / "report" / "metrics.json").read_text())
    expected = opencv_ap(cfg, sample)
    assert expected[0] > 0.05
    for key, value in zip(("ap", "ap50", "ap75"), expected, strict=True):
        assert numbers[key] == pytest.approx(value, abs=0.001)


def opencv_ap(cfg: Path, sample: Path) -> list[float]:
    """Return AP, AP50 and AP75 of OpenCV on the classes that the network and the annotations share."""
    # with the default of this key, scores below 0.2 would be 0
    text = cfg.read_text().replace("[yolo]", "[yolo]\nthresh=0.0001")
    weights = np.fromfile(cfg.with_suffix(".weights"), np.uint8)
    imported = cv2.dnn.readNetFromDarknet(np.frombuffer(text.encode(), np.uint8), weights)
    names = (cfg.parent / "coco.names").read_text().split("\n")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(sample / "val.json"))
        categories = {
            names.index(c["name"]): c["id"] for c in truth.dataset["categories"] if c["name"] in names
        }
        results = []
        for pixels in truth.dataset["images"]:
            image = cv2.imread(str(sample / "images" / pixels["file_name"]))[..., ::-1]
            for label, score, (x0, y0, x1, y1) in opencv_detections(
                imported, image, (320, 320), "stretch", CONFIDENCE, IOU
            ):
                if label in categories:
                    box = [x0, y0, x1 - x0, y1 - y0]
                    results.append(
                        {
                            "image_id": pixels["id"],
                            "category_id": categories[label],
                            "bbox": box,
                            "score": score,
                        }
                    )
        judged = COCOeval(truth, truth.loadRes(results), "bbox")
        judged.params.catIds = sorted(categories.values())
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return list(judged.stats[:3])
