"""From a model to the files that other engines run: ONNX, OpenVINO, int8, each with its proof."""
