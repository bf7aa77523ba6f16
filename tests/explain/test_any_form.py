"""For other networks than YOLOv3, the record equals the decoding and the loss of training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.config import Objective
from lookonce.darknet.described import describe, network_of
from lookonce.data.assign import assign, join
from lookonce.explain import Explainer
from lookonce.explain.assignment import encode
from lookonce.explain.heads import cell
from lookonce.explain.loss_formulas import loss_formulas
from lookonce.export.source import FloatModel
from lookonce.model.darknet_io import fill
from lookonce.model.decode import decode
from lookonce.model.graph import DarknetGraph
from lookonce.model.network import to_input
from lookonce.samples import Sample
from lookonce.train.loss import compute_losses
from tests.darknet.kinds import KINDS, kind
from tests.darknet.oracle import random_weights

BOXES = np.array([[4, 6, 40, 50], [30, 60, 60, 90]], np.float32)
LABELS = np.array([0, 1])


@pytest.mark.parametrize("name", KINDS)
def test_decoding_and_losses_equal_those_of_training(name: str) -> None:
    network, names = kind(name), ("cat", "dog")
    weights, info = random_weights(network), describe(network, names)
    explainer = Explainer(FloatModel(network, weights, info), objective=Objective())
    image = np.random.default_rng(3).integers(0, 256, (96, 64, 3), np.uint8)

    found = explainer(image, Sample(Path("x.png"), BOXES, LABELS))

    graph = DarknetGraph(network)
    fill(graph, weights)
    with torch.no_grad():
        maps = graph.eval()(to_input(torch.from_numpy(image)[None].permute(0, 3, 1, 2)))
        candidates = decode(maps, info.anchors, info.strides, network.decodings)[0].numpy()
        positives = join([assign(BOXES, LABELS, info.anchors, info.strides, (96, 64))])
        settings = Objective().loss
        expected = compute_losses(
            maps, positives.each(torch.from_numpy), torch.from_numpy(BOXES)[None], info.anchors, info.strides,
            settings, decodings=network.decodings,
        )  # fmt: skip
    rng = np.random.default_rng(0)
    for number, scale in enumerate(found.scales):
        assert scale.raw.shape[-1] == 7
        for _ in range(5):
            row, column, anchor = (int(rng.integers(n)) for n in scale.raw.shape[:3])
            at = cell(found.scales, found.input.letterbox, (number, row, column, anchor))
            flat = scale.first + int(np.ravel_multi_index((row, column, anchor), scale.raw.shape[:3]))
            np.testing.assert_allclose(at.box, candidates[flat, :4], rtol=1e-3, atol=1e-2)
            np.testing.assert_allclose([at.objectness, *at.probabilities], candidates[flat, 4:], atol=1e-4)
            _, raw = encode(np.array(at.box), (number, row, column, anchor), scale)
            np.testing.assert_allclose([each or np.nan for each in raw], at.raw[:4], rtol=0.02, atol=0.02)
    assert found.truth is not None
    assert found.truth.losses is not None
    total = found.truth.losses.total
    wanted = [float(each[0]) for each in (expected.giou, expected.conf, expected.prob)]
    np.testing.assert_allclose([total.giou, total.conf, total.prob], wanted, rtol=2e-3)
    for each in found.truth.objects:
        for positive in each.positives:
            assert positive.losses is not None
            assert positive.class_terms is not None
            assert positive.class_terms.sum() == pytest.approx(positive.losses.prob, rel=1e-4)
            lines = loss_formulas(found, positive.position)
            assert any("softmax" in line or "CE of class" in line for line in lines) or name != "region"


def test_formulas_name_the_form() -> None:
    for name, expected in (("csp", "* (2 * σ("), ("region", "= softmax("), ("tiny", "* exp(")):
        network = kind(name)
        info = describe(network, ("cat", "dog"))
        found = Explainer(FloatModel(network, random_weights(network), info))(np.zeros((96, 64, 3), np.uint8))
        assert any(
            expected in line for line in cell(found.scales, found.input.letterbox, (0, 1, 1, 0)).formulas
        )
    assert network_of(info).decodings[0].form == "yolo"
