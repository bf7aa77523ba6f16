"""Batch normalization over the images of all processes instead of each process's own.

Legend: **B** images of this rank, **C** channels, **H**, **W** height and width, **R** ranks, **n** = B*H*W
values of a channel on this rank, **N** on all ranks.

With x the input, ^x = (x - mean) / sqrt(var + eps), y = gamma * ^x + beta and g = dL/dy:

    mean   = sum over ranks n_r * mean_r / N
    var    = sum over ranks n_r * (var_r + (mean_r - mean)^2) / N          (Chan et al. 1979)
    dL/dx  = gamma / sqrt(var + eps) * (g - sum(g) / N - ^x * sum(g * ^x) / N)  with sums over all ranks

The forward pass exchanges 2C + 1 numbers and the backward pass 2C. A rank without images takes part with
n = 0. torch's own class does the same, but only on GPUs; this one also runs, and is tested, on CPUs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lookonce.train.parallel import stack_over_ranks, sum_over_ranks

PIXELS = (0, 2, 3)  # all but the channels


class _Normalize(torch.autograd.Function):
    """Normalize (B, C, H, W); also return mean (C,), variance (C,), and N (1,)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _statistics(x)
        inverse = torch.rsqrt(variance + epsilon)
        ctx.save_for_backward(x, gamma, mean, inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        standardized = (x.float() - _across(mean)) * _across(inverse)
        y = _across(gamma) * standardized + _across(beta)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, gamma, mean, inverse, count = ctx.saved_tensors
        g, standardized = gradient.float(), (x.float() - _across(mean)) * _across(inverse)
        # gradients of beta and gamma, which `Group.sum_gradients` sums over the ranks
        own = torch.stack([g.sum(PIXELS), (g * standardized).sum(PIXELS)])
        mean_g, mean_gx = sum_over_ranks(own.clone()) / count
        of_x = _across(gamma * inverse) * (g - _across(mean_g) - standardized * _across(mean_gx))
        return of_x.to(x.dtype), own[1], own[0], None


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute mean (C,), biased variance (C,) and N (1,) over all ranks."""
    channels, n = x.shape[1], x.numel() // x.shape[1]
    variance, mean = torch.zeros((2, channels), device=x.device)
    if n:
        variance, mean = torch.var_mean(x.float(), PIXELS, correction=0)
    parts = stack_over_ranks(torch.cat([variance, mean, mean.new_full((1,), n)]))  # (R, 2C + 1)
    variances, means, counts = torch.split(parts, [channels, channels, 1], dim=1)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    return mean, (counts * (variances + (means - mean) ** 2)).sum(0) / count, count


def _across(channel: Tensor) -> Tensor:
    """Reshape for broadcasting over images: (C,) -> (1, C, 1, 1)."""
    return channel[None, :, None, None]


class SyncBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that computes its statistics over the images of all processes in training."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "SyncBatchNorm2d":
        """Make a module with the parameters and statistics of another."""
        made = cls(norm.num_features, norm.eps, norm.momentum)
        made.weight, made.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(made, name, buffer)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, H, W); every rank must call it in training, even with B = 0."""
        if not self.training:
            return super().forward(x)
        y, mean, variance, count = _Normalize.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), self.momentum)
            self.num_batches_tracked.add_(1)
        return y  # type: ignore[no-any-return]


def synchronize(network: nn.Module) -> None:
    """Replace every batch normalization with `SyncBatchNorm2d`, in place; names and tensors stay the same."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, SyncBatchNorm2d.of(child))
