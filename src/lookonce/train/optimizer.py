"""Make the optimizer, with weight decay only on convolution kernels, and save and restore its state."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from lookonce.config import OptimizerSettings
from lookonce.errors import TrainingError

ADAM_EPSILON = 1e-7  # Keras' default, as in the reference


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """Make an optimizer of the parameters that are not frozen; only convolution kernels decay.

    torch's Adam adds epsilon after the bias correction, Keras' Adam before it, so weights differ from the
    reference's where gradients are below about 1e-3.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    if settings.name != "sgd":
        betas = settings.momentum, 0.999
        kind = AdamW if settings.name == "adamw" else Adam
        return kind(groups, lr=settings.rate, betas=betas, eps=ADAM_EPSILON, fused=True)
    return SGD(groups, lr=settings.rate, momentum=settings.momentum, fused=True)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state by `PARAMETER NUMBER/NAME`, for `restore`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}/{name}": torch.as_tensor(value)
        for number, slots in state.items()
        for name, value in slots.items()
        if value is not None
    }


def restore(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state returned by `optimizer_tensors`.

    Raises:
        TrainingError: the tensors belong to another network or optimizer.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = tensor
    trained: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    remembers = any(group.get("momentum", 1) for group in optimizer.param_groups)  # Adam has no such entry
    if not state and not remembers:
        return
    if set(state) != set(range(len(trained))):
        raise TrainingError(
            f"the checkpoint's optimizer state has {len(state)} parameters, this run trains {len(trained)}"
        )
    for parameter, slots in zip(trained, (state[i] for i in range(len(trained))), strict=True):
        for name, tensor in slots.items():
            if tensor.shape == parameter.shape:
                # the fused step reads memory in storage order, so the state needs its parameter's layout
                slots[name] = torch.empty_like(parameter.detach()).copy_(tensor)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
