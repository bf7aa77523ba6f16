"""Test training on a teacher's maps: everywhere, or only on what the images do not annotate."""

import pytest
import torch
from torch import Tensor

from lookonce.config import LossSettings
from lookonce.darknet.described import decodings_of
from lookonce.data.assign import Positives
from lookonce.model.darknet_io import fill
from lookonce.model.decode import by_anchor
from lookonce.model.graph import DarknetGraph
from lookonce.train.imitate import continuation, imitation
from lookonce.train.loss import compute_losses
from lookonce.train.slim import Parent
from tests.train.test_slim import parent_of, three_classes

OLD, NEW = (0, 1), 2
FORMS = pytest.mark.parametrize("name", ["tiny", "region", "gaussian", "csp"])


@FORMS
def test_equal_maps_give_no_gradient(name: str) -> None:
    parent = parent_of(three_classes(name))
    graph = DarknetGraph(parent.network).eval()
    fill(graph, parent.weights)
    maps = [each.detach().requires_grad_() for each in graph(torch.rand(2, 3, 64, 96))]

    imitation(maps, [each.detach() for each in maps], parent.info, LossSettings()).total().backward()

    for each in maps:
        assert each.grad is not None
        assert each.grad.abs().max() < 1e-5


def test_a_step_toward_the_teacher_lowers_the_loss() -> None:
    parent = parent_of(three_classes())
    graph = DarknetGraph(parent.network).eval()
    fill(graph, parent.weights)
    image = torch.rand(2, 3, 64, 96)
    taught = [each.detach() + 1 for each in graph(image)]
    maps = [each.detach().requires_grad_() for each in graph(image)]
    before = imitation(maps, taught, parent.info, LossSettings())
    assert all(term.shape == (2,) and (term > 0).all() for term in (before.giou, before.conf, before.prob))
    before.total().backward()
    nearer = [each.detach() - 0.05 * each.grad for each in maps if each.grad is not None]
    assert imitation(nearer, taught, parent.info, LossSettings()).total() < before.total()


def maps_of(parent: Parent) -> list[Tensor]:
    graph = DarknetGraph(parent.network).eval()
    fill(graph, parent.weights)
    return [each.detach() for each in graph(torch.rand(2, 3, 64, 96))]


def silent(parent: Parent, maps: list[Tensor]) -> list[Tensor]:
    """Return the maps with a score of 0 for the new class."""
    found = [each.clone() for each in maps]
    for each, anchors in zip(found, parent.info.anchors, strict=True):
        by_anchor(each, len(anchors))[..., NEW - 3] = -20
    return found


def one_object(parent: Parent, label: int = NEW, objects: int = 1) -> tuple[Positives[Tensor], Tensor]:
    """Make an object in the second image, in the first cell of the coarsest scale."""
    zero, scale = torch.zeros(objects, dtype=torch.int64), len(parent.info.anchors) - 1
    box = torch.tensor([[4.0, 4.0, 30.0, 40.0]])
    positives = Positives(zero + 1, zero + scale, zero, zero, zero, box[:objects], zero + label)
    return positives, torch.stack([torch.zeros(1, 4), box * objects])


@FORMS
def test_without_annotated_objects_the_old_maps_give_no_gradient(name: str) -> None:
    parent = parent_of(three_classes(name))
    taught = silent(parent, maps_of(parent))
    maps = [each.clone().requires_grad_() for each in taught]
    positives, truth = one_object(parent, objects=0)
    continuation(maps, taught, OLD, positives, truth, parent.info, LossSettings()).total().backward()
    for each in maps:
        assert each.grad is not None
        assert each.grad.abs().max() < 1e-5
    wrong = [each.clone().requires_grad_() for each in taught]
    info = parent.info
    compute_losses(
        wrong, positives, truth, info.anchors, info.strides, LossSettings(), (), decodings_of(info)
    ).total().backward()
    assert max(float(each.grad.abs().max()) for each in wrong if each.grad is not None) > 1e-3


@FORMS
def test_an_annotated_object_is_learned_as_usual(name: str) -> None:
    """The old model does not find the object, and its maps have no effect there."""
    parent = parent_of(three_classes(name))
    info, settings = parent.info, LossSettings()
    taught = silent(parent, maps_of(parent))
    given = one_object(parent)
    gradients = []
    for compute in (
        lambda maps: continuation(maps, taught, OLD, *given, info, settings),
        lambda maps: compute_losses(
            maps, *given, info.anchors, info.strides, settings, (), decodings_of(info)
        ),
    ):
        maps = [each.clone().requires_grad_() for each in taught]
        compute(maps).total().backward()
        coarsest = maps[-1].grad
        assert coarsest is not None
        gradients.append(by_anchor(coarsest, len(info.anchors[-1]))[1, 0, 0, 0])
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 1e-3


def test_annotated_classes_are_not_learned_from_the_old_model() -> None:
    """The share of such a class in the objectness is background, and its probability is 0."""
    parent = parent_of(three_classes())
    info, settings = parent.info, LossSettings()
    taught = [torch.zeros_like(each) for each in maps_of(parent)]
    for each, anchors in zip(taught, info.anchors, strict=True):
        maps = by_anchor(each, len(anchors))
        maps[..., 4], maps[..., NEW - 3] = 4, -20  # an object everywhere, half of class 0, half of class 1
    none = one_object(parent, objects=0)
    target = torch.sigmoid(torch.tensor(4.0)) / 2
    for far, near in ((4.0, torch.logit(target)), (0.0, torch.logit(target))):
        losses = []
        for objectness in (far, near):
            mine = [each.clone() for each in taught]
            for each, anchors in zip(mine, info.anchors, strict=True):
                by_anchor(each, len(anchors))[..., 4] = objectness
            losses.append(continuation(mine, taught, (1,), *none, info, settings).conf)
        assert (losses[1] < losses[0]).all()
    maps_ = [each.clone().requires_grad_() for each in taught]
    continuation(maps_, taught, (1,), *none, info, settings).total().backward()
    for each, anchors in zip(maps_, info.anchors, strict=True):
        assert each.grad is not None
        gradient = by_anchor(each.grad, len(anchors))
        assert (gradient[..., 5] > 0).all()  # class 0 is annotated and has no box here
        assert gradient[..., 6].abs().max() < 1e-6


def test_ignored_areas_give_no_gradient() -> None:
    parent = parent_of(three_classes())
    info = parent.info
    taught = silent(parent, maps_of(parent))
    everything = [torch.ones(2, *each.shape[2:], 4, dtype=torch.bool) for each in taught]
    maps = [torch.zeros_like(each).requires_grad_() for each in taught]
    none = one_object(parent, objects=0)
    continuation(maps, taught, OLD, *none, info, LossSettings(), everything).total().backward()
    assert all(each.grad is not None and not each.grad.any() for each in maps)


def test_boxes_and_classes_of_the_old_model_have_a_tenth_of_the_weight() -> None:
    """With the weight 1, added classes are learned slowly (benchmarks/labels.md)."""
    parent = parent_of(three_classes())
    info, none = parent.info, one_object(parent, objects=0)
    taught = silent(parent, maps_of(parent))
    maps = [each + 0.5 for each in taught]
    whole = imitation(maps, taught, info, LossSettings())
    kept = continuation(maps, taught, OLD, *none, info, LossSettings())
    assert whole.giou.min() > 0
    assert whole.prob.min() > 0
    torch.testing.assert_close(kept.conf, whole.conf)
    torch.testing.assert_close(kept.giou, 0.1 * whole.giou)
    torch.testing.assert_close(kept.prob, 0.1 * whole.prob)
