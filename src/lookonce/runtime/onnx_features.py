"""An ONNX graph that also returns the last feature maps before its heads, averaged over their cells."""

from pathlib import Path

from lookonce.errors import ModelFileError


def graph_with_features(path: Path) -> bytes:
    """Return an ONNX file with an output (B, F, 1, 1) per head behind its own output.

    A head is the first convolution on a way from the output back to the image.

    Raises:
        ModelFileError: no convolution.
    """
    import onnx  # takes 0.2 s, and detecting does not need it

    model = onnx.load(path)
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    maps: dict[str, None] = {}
    waiting, visited = [graph.output[0].name], set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in visited or name not in made_by:
            continue
        visited.add(name)
        node = made_by[name]
        if node.op_type == "Conv":
            maps[node.input[0]] = None
        else:
            waiting += node.input
    if not maps:
        raise ModelFileError(f"{path}: expected convolutions, to compare images by; found none")
    for number, name in enumerate(maps):
        output = f"lookonce_features_{number}"
        graph.node.append(onnx.helper.make_node("GlobalAveragePool", [name], [output]))
        graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    serialized: bytes = model.SerializeToString()
    return serialized
