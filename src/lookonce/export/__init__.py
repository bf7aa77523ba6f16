"""Export a model to files that other engines run: ONNX, OpenVINO, int8. Each file is verified."""

from lookonce._callable import make_callable

make_callable(__name__)
