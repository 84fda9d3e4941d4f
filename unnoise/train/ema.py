"""The average of a model's weights over the steps: what is sampled from."""

import copy
import math

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of the weights, with a half-life that grows at the start.

        average <- average + (1 - decay(step)) (weights - average)
        decay(step) = 2^(-1 / h),   h = min(half_life, warmup step),   half_life = ln 2 / -ln(decay)

    so that a short run, or the start of a long one, averages over its last `warmup` share and not over the random
    weights it began with. The decay is a function of the step: the averaged weights are all there is to keep.

    Averages are float32 or finer, whatever the weights are; buffers are copied.

    Args:
        model: The network that is trained; it is copied, once.
        decay: Per step, in [0, 1): 0.9999 is a half-life of 6,931 steps; 0 keeps the newest weights.
        warmup: Largest half-life as a share of the steps made so far; infinity for a constant decay.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, App. F.2 (the
    ramp-up of the half-life). arXiv:2206.00364
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999, warmup: float = 0.05) -> None:
        self.half_life = math.log(2) / -math.log(decay) if decay > 0 else 0.0
        self.warmup = warmup
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self.averages: list[Tensor] = list(self.module.parameters())
        self.buffers = list(self.module.buffers())
        for parameter in self.averages:
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))

    def decay(self, step: int) -> float:
        """The share of the old average that remains after update number `step` (1 is the first)."""
        half_life = min(self.half_life, self.warmup * step)
        return 2 ** (-1 / half_life) if half_life > 0.0 else 0.0

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights that update number `step` has left."""
        blend(self.averages, list(model.parameters()), 1 - self.decay(step))
        if self.buffers:
            torch._foreach_copy_(self.buffers, list(model.buffers()))


@torch.no_grad()
def blend(averages: list[Tensor], weights: list[Tensor], share: float) -> None:
    """Move each average towards its weight by a share of their difference."""
    newest = [w if w.dtype == mean.dtype else w.to(mean.dtype) for w, mean in zip(weights, averages, strict=True)]
    torch._foreach_lerp_(averages, newest, share)
