"""Annotation files in and out: one-line text, COCO, Pascal VOC, YOLO; each reads to `SampleSet`.

load_samples(DATA) -> recognise -> a reader parses -> the collector decides on dirty data -> SampleSet
write_samples(sets, "coco", out)
"""

from lookonce.annotations.recognise import load_samples, load_splits, splits_of
from lookonce.annotations.write import check_target, write_samples

__all__ = ["check_target", "load_samples", "load_splits", "splits_of", "write_samples"]
