"""Export of a model to the files that other engines run: ONNX, OpenVINO, int8, each verified."""

from lookonce._callable import make_callable

make_callable(__name__)
