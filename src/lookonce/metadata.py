"""What a model file says of itself: enough to run it, and nothing else is needed."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from lookonce.errors import ModelFileError
from lookonce.geometry.letterbox import Fit

FORMAT_VERSION = 1
OBJECTIVE = "objective"  # key of the `config.Objective` in `ModelInfo.training`
LEARNT_FROM = "data"  # key of what it learnt from, there: counts and a digest
METADATA_KEY = "lookonce"  # of the JSON entry in a safetensors header and in ONNX metadata

# Added to the variance under the root, in new models and Darknet files. Darknet itself has sqrt(var) + 1e-6
# (original, on the processor) or sqrt(var + 1e-5) (original on a GPU, AlexeyAB's line); OpenCV's importer has
# sqrt(var + 1e-6). OpenCV's is taken, as the one that can be checked against here. With one value for both, a
# model written as Darknet files and read back has the same bits.
BN_EPSILON = 1e-6


def scaled_channels(full: int, width: float) -> int:
    """The channel count that stands for `full` at a width factor: a multiple of 8, at least 8."""
    return max(8, round(full * width / 8) * 8)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Description carried inside every model file.

    Attributes:
        architecture: `yolov3`, `yolov3-spp`, `yolov3-tiny`, or `darknet` for any other `.cfg`.
        names: class names; their number is C.
        anchors: per scale, finest first: (width, height) of each anchor in pixels of the network input.
        strides: per scale, finest first; yolov3-tiny has two scales.
        input_size: (height, width) the model was made for; any multiples of 32 work.
        width: factor on the channel counts.
        bn_epsilon: batch normalisation's epsilon; 1e-3 in the TensorFlow reference.
        fit: how an image gets to the input size.
        training: free-form summary of how it was trained.
    """

    architecture: str
    names: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    input_size: tuple[int, int]
    width: float = 1.0
    bn_epsilon: float = BN_EPSILON
    fit: Fit = "letterbox"
    training: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line, keys sorted: the same model gives the same bytes."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, file: str) -> Self:
        """Read what `to_json` wrote; `file` is named in errors.

        Raises:
            ModelFileError: not JSON, a newer format version, or a field missing or malformed.
        """
        try:
            fields = json.loads(text)
            version = fields.pop("format_version")
            if version != FORMAT_VERSION:
                raise ModelFileError(
                    f"{file}: expected model format version {FORMAT_VERSION}, found {version}"
                )
            fields["names"] = tuple(str(name) for name in fields["names"])
            fields["anchors"] = tuple(
                tuple((float(w), float(h)) for w, h in scale) for scale in fields["anchors"]
            )
            fields["strides"] = tuple(int(stride) for stride in fields["strides"])
            height, width = fields["input_size"]
            fields["input_size"] = int(height), int(width)
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{file}: the model description is damaged: {error}") from error
