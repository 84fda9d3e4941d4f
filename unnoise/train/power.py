"""Averages of weights whose length is chosen after training.

The average of length s weighs the weights of step tau by a power of tau,

    average_s(T) = sum_tau p_s(tau / T) weights(tau),   p_s(u) ~ u^gamma,   0 < u <= 1

so that its memory is a share of the training, not a number of steps. s is the standard deviation of p_s: about the share of the
training that is averaged over. Two such averages, kept at some steps on the way, span nearly all others: what any other length
would have given is a combination of them, found by least squares between profiles, without the weights.

Reference: Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024, section 3 and appendix C.
arXiv:2312.02696
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .ema import blend

LONGEST = 12**-0.5  # gamma = 0: all steps count alike


class Power:
    """The average of length `length`, of a model's parameters, kept from the first step on.

        average <- average + (1 - decay(step)) (weights - average),   decay(step) = (1 - 1 / step)^(gamma + 1)

    Averages are float32 or finer, whatever the weights are.

    Args:
        model: The network that is trained; its parameters are copied, once.
        length: s, above 0 and below 0.288.

    Raises:
        ValueError: For another length.

    Reference: arXiv:2312.02696, eq. 1 and 2.
    """

    def __init__(self, model: nn.Module, length: float) -> None:
        self.length, self.exponent = length, exponent(length)
        self.weights = {
            name: weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)
            for name, weight in model.named_parameters()
        }

    def decay(self, step: int) -> float:
        """The share of the old average that remains after update number `step`; the first replaces all of it."""
        return (1 - 1 / step) ** (self.exponent + 1)

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights that update number `step` has left."""
        blend(list(self.weights.values()), list(model.parameters()), 1 - self.decay(step))


def width(gamma: float) -> float:
    """The length s of exponent gamma: the standard deviation of p_s, (gamma + 1)^1/2 / ((gamma + 2) (gamma + 3)^1/2)."""
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def exponent(length: float) -> float:
    """The exponent gamma of a length s: the largest root of gamma^3 + 7 gamma^2 + (16 - s^-2) gamma + 12 - s^-2.

    Raises:
        ValueError: For a length that is not above 0 and below 12^-1/2, which is that of a plain mean.
    """
    if not 0 < length < LONGEST:
        raise ValueError(f"the length of an average is {length}; expected a number above 0 and below {LONGEST:.3f}")
    return float(np.roots([1, 7, 16 - length**-2, 12 - length**-2]).real.max())


def overlap(ends: Tensor, gammas: Tensor, end: Tensor | float, gamma: Tensor | float) -> Tensor:
    """Inner product of two profiles: the integral of p over tau, of averages that end at step `ends` and at `end`.

        (gamma_a + 1) (gamma_b + 1) / (gamma_a + gamma_b + 1) (shorter / longer)^gamma_longer / longer

    Tensors broadcast; float64.

    Reference: arXiv:2312.02696, algorithm 2.
    """
    given = (torch.as_tensor(values, dtype=torch.float64) for values in (ends, gammas, end, gamma))
    ends, gammas, others, theirs = torch.broadcast_tensors(*given)
    shorter, longer = torch.minimum(ends, others), torch.maximum(ends, others)
    of_longer = torch.where(ends < others, theirs, gammas)
    return (gammas + 1) * (theirs + 1) / (gammas + theirs + 1) * (shorter / longer) ** of_longer / longer


def coefficients(kept: Sequence[tuple[int, float]], end: int, length: float) -> Tensor:
    """The combination of averages that comes nearest to that of another length, (N,), of sum 1.

    Args:
        kept: The step at which each ends, and its length; no two alike.
        end: The step at which the wanted one ends.
        length: Its length.

    Reference: arXiv:2312.02696, algorithm 3.
    """
    steps, gammas = _profiles(kept)
    products = overlap(steps[:, None], gammas[:, None], steps, gammas)
    wanted = overlap(steps, gammas, float(end), exponent(length))
    found = torch.linalg.lstsq(products, wanted[:, None], driver="gelsd").solution[:, 0]
    return found / found.sum()


def mismatch(kept: Sequence[tuple[int, float]], end: int, length: float) -> float:
    """How far the combination's profile is from the wanted one, as a share of the latter's size: 0 if it is one of those kept."""
    steps, gammas = _profiles(kept)
    c, gamma = coefficients(kept, end, length), exponent(length)
    size = float(overlap(*_profiles([(end, length)]), end, gamma))
    off = size - 2 * c @ overlap(steps, gammas, end, gamma) + c @ overlap(steps[:, None], gammas[:, None], steps, gammas) @ c
    return math.sqrt(max(float(off), 0.0) / size)


def _profiles(kept: Sequence[tuple[int, float]]) -> tuple[Tensor, Tensor]:
    """The last steps and the exponents of averages, (N,) each."""
    rows = torch.tensor([(step, exponent(length)) for step, length in kept], dtype=torch.float64)
    return rows[:, 0], rows[:, 1]
