"""The ways to run a model on this machine's CPU: engines, precisions, and the files that they need."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from lookonce._terminal import say
from lookonce.metadata import ModelInfo
from lookonce.runtime.cpu import this_cpu
from lookonce.runtime.plans import REST_IN_BFLOAT16

FLOAT_GRAPH = "float32.onnx"  # the model, exported
NCNN_GRAPH = "float32.param"  # with its `.ncnn.bin`


class Candidate(NamedTuple):
    """An engine with a precision.

    Attributes:
        backend: a name in `backends.ENGINES`.
        precision: `float32`, `bfloat16`, `int8` or `plans.REST_IN_BFLOAT16`.
        file: name of the file to run; empty for the model itself.
    """

    backend: str
    precision: str
    file: str = ""

    @property
    def label(self) -> str:
        """Return a name for messages and for the file of an unfinished run."""
        return ", ".join(filter(None, self))


def candidates_here(model: Path, path: Path, info: ModelInfo, console: Console) -> Iterator[Candidate]:
    """Yield the candidates for this machine; the first is the reference, the model with its default engine.

    Args:
        model: model as given by the user.
        path: file that engines run for it.
        info: description of the model.
        console: receives a line on candidates that are not tried, with the reason.
    """
    bfloat16 = this_cpu().computes_bfloat16
    openvino = find_spec("openvino") is not None
    if path.suffix == ".param":
        yield Candidate("ncnn", "float32")
        say("other engines and int8: need another file than .param, so not tried", console)
        return
    if path.suffix == ".xml" or "int8" in info.training:
        usual = "int8" if "int8" in info.training else "float32"
        if path.suffix == ".onnx":
            yield Candidate("onnxruntime", usual)
        if openvino:
            yield Candidate("openvino", usual)
            if bfloat16:
                yield Candidate("openvino", "bfloat16" if usual == "float32" else REST_IN_BFLOAT16)
        say("int8: needs a float32 model other than .xml, so not tried", console)
        return
    graph = ""
    if model.suffix == ".safetensors":
        graph = FLOAT_GRAPH
        yield Candidate("torch", "float32")
        if bfloat16:
            yield Candidate("torch", "bfloat16")
    for file, precision in ((graph, "float32"), ("int8.onnx", "int8"), ("int8-symmetric.onnx", "int8")):
        yield Candidate("onnxruntime", precision, file)
    if find_spec("ncnn") is not None:
        yield Candidate("ncnn", "float32", NCNN_GRAPH)
    if not openvino:
        say("OpenVINO is not installed, so not tried", console)
        return
    yield Candidate("openvino", "float32", graph)
    if bfloat16:
        yield Candidate("openvino", "bfloat16", graph)
    if find_spec("nncf") is None:
        say("NNCF is not installed, so int8 with OpenVINO is not tried", console)
        return
    for file in ("int8.xml", "int8-symmetric.xml"):
        yield Candidate("openvino", "int8", file)
        if bfloat16:
            yield Candidate("openvino", REST_IN_BFLOAT16, file)
