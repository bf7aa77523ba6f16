"""Read and write annotations in the formats of common tools; each reader returns a `SampleSet`.

load_samples(DATA) -> recognize -> a reader parses -> collect handles dirty data -> SampleSet
write_samples(sets, "coco", out)
"""

from lookonce.annotations.recognize import GivenData, load_samples, load_splits, open_annotations
from lookonce.annotations.source import Annotations
from lookonce.annotations.write import check_target, write_samples

__all__ = [
    "Annotations",
    "GivenData",
    "check_target",
    "load_samples",
    "load_splits",
    "open_annotations",
    "write_samples",
]
