"""Find the features of an image in a graph: the last feature maps before its heads."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lookonce.errors import ModelFileError


def head_convolutions(
    output: str, inputs_of: Callable[[str], Sequence[str]], is_convolution: Callable[[str], bool], path: Path
) -> list[str]:
    """Return the heads of a graph: the first convolution on each path from the output back to the image.

    Args:
        output: name of the output.
        inputs_of: function from the name of a value to the names that it is computed from; empty for weights
            and for the image.
        is_convolution: function that returns whether a name is the output of a convolution.
        path: file of the graph, for the error.

    Raises:
        ModelFileError: the graph has no convolution.
    """
    found: list[str] = []
    waiting, visited = [output], set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in visited:
            continue
        visited.add(name)
        if is_convolution(name):
            found.append(name)
        else:
            waiting += inputs_of(name)
    if not found:
        raise ModelFileError(f"{path}: expected convolutions, to compare images by; found none")
    return found


def onnx_with_features(path: Path) -> bytes:
    """Return an ONNX file with an additional output (B, F, 1, 1) for the average of each feature map.

    Raises:
        ModelFileError: the graph has no convolution.
    """
    import onnx  # takes 0.2 s, and is not needed for detection

    model = onnx.load(path)
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    heads = head_convolutions(
        graph.output[0].name,
        lambda name: made_by[name].input if name in made_by else (),
        lambda name: name in made_by and made_by[name].op_type == "Conv",
        path,
    )
    for number, name in enumerate(dict.fromkeys(made_by[head].input[0] for head in heads)):
        output = f"lookonce_features_{number}"
        graph.node.append(onnx.helper.make_node("GlobalAveragePool", [name], [output]))
        graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    serialized: bytes = model.SerializeToString()
    return serialized
