"""Export models to files that other engines run: ONNX, OpenVINO, ncnn, int8; and verify each file."""

from lookonce._callable import make_callable

make_callable(__name__)
