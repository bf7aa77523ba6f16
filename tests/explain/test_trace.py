"""Outputs of the traced graph, compared with the readable networks, and the time of each layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lookonce.explain import Explainer
from lookonce.explain.layers import describe_layers
from lookonce.explain.trace import Tracer, layer_seconds
from lookonce.export.source import read_source
from lookonce.model.files import load_model
from lookonce.model.network import to_input
from lookonce.networks import NETWORKS
from lookonce.runtime.backends import open_backend
from tests.explain.conftest import NANO
from tests.explain.models import SIZE, write_model


def pixels(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_named_layer_equals_the_module_of_its_name(architecture: str, tmp_path: Path) -> None:
    path, image = write_model(tmp_path, architecture), pixels(SIZE)
    tracer = Tracer(read_source(path), SIZE)
    run, found = tracer.run(image), tracer.outputs(image)
    network, _ = load_model(path)
    outputs: dict[str, list[Tensor]] = {}

    def keep(name: str) -> object:
        return lambda _module, _inputs, output: outputs.setdefault(name, []).append(output)

    for name, module in network.eval().named_modules():
        module.register_forward_hook(keep(name))  # type: ignore[arg-type]
    with torch.inference_mode():
        raw_maps = network(to_input(torch.from_numpy(image[None]).permute(0, 3, 1, 2)))

    layers = describe_layers(tracer.network, architecture, {}, 0.0)
    named = [layer for layer in layers if layer.name]
    assert len(named) > 12
    for layer in named:
        (expected,) = outputs[layer.name].pop(0)  # uses of a module such as `halve`, in order
        assert found[layer.index].shape == layer.shape
        np.testing.assert_allclose(found[layer.index], expected, rtol=1e-5, atol=3e-5)
    for raw_map, expected in zip(run.raw_maps, raw_maps, strict=True):
        np.testing.assert_allclose(raw_map, expected[0], rtol=1e-5, atol=3e-5)


def test_raw_map_outputs_do_not_change_the_candidates(nano: Explainer, data: Path) -> None:
    image = pixels(nano.size)
    backend = open_backend(data / "darknet" / NANO)
    traced = Tracer(read_source(data / "darknet" / NANO), nano.size).run(image)

    np.testing.assert_array_equal(traced.candidates, backend(image[None])[0])


def kernel(name: str, microseconds: int) -> dict[str, object]:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds}


def test_times_are_medians_per_layer(tmp_path: Path) -> None:
    network = Tracer(read_source(write_model(tmp_path)), SIZE).network
    events: list[dict[str, object]] = [{"cat": "Session", "name": "model_run", "dur": 10**6}]
    for run, time in enumerate((9000, 10, 30, 20)):  # the first run is left out; the medians are 20 ...
        events += [
            kernel("input/transpose_0", time),
            kernel("0_convolutional/leakyrelu_4_nchwc", time),
            kernel("0_convolutional/other_5", 2 * time),
            kernel("ReorderOutput_token_1", time),
            kernel("decode_32_15/exp_9", 3 * time + run),
            {"cat": "Node", "name": "0_convolutional/leakyrelu_4_fence_before", "dur": 10**6},
        ]

    seconds, other = layer_seconds(events, network, 4)

    assert seconds == {0: pytest.approx(60e-6), 16: pytest.approx(63e-6)}
    assert other == pytest.approx(40e-6)


def test_every_convolution_has_a_measured_time(tiny: Explainer) -> None:
    found = tiny(pixels((40, 60)))
    convolutions = [layer for layer in found.layers if layer.kind == "convolutional"]

    assert all(layer.seconds > 0 for layer in convolutions)
    assert all(layer.seconds > 0 for layer in found.layers if layer.kind == "yolo")
    assert found.timing.seconds == pytest.approx(
        sum(layer.seconds for layer in found.layers) + found.timing.other_seconds
    )
    assert 0.5 < sum(layer.share for layer in found.layers) < 1
    assert tiny(pixels((20, 60))).timing is found.timing  # measured once
