"""Laws of data whose denoiser is known in closed form, written anew here: nothing of what is checked checks itself."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Time
from unnoise.schedule import Schedule
from unnoise.tensor import Cond

FINE = 500  # steps of the fourth-order method


class Target:
    """The exact denoiser of a mixture of K Gaussians with axes along the D coordinates; it notes the times it is asked at.

        E[x | x_t] = sum_k w_k(x_t) (m_k + g_k (x_t - alpha m_k));   g = alpha std^2 / (alpha^2 std^2 + sigma^2)

    Its answers carry the learned variance of a network that found the large one right.

    Args:
        schedule: The noising.
        weights, means, stds: (K,), (K, D), (K, D).
    """

    evaluations = 1

    def __init__(self, schedule: Schedule, weights: Tensor, means: Tensor, stds: Tensor) -> None:
        self.schedule = schedule
        self.conds: Conditions = {}
        self.weights, self.means, self.stds = weights.double(), means.double(), stds.double()
        self.asked: list[float] = []
        self.known: dict[tuple[float, torch.dtype], tuple[Tensor, ...]] = {}

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return x

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        if isinstance(t, Tensor):
            parts = self._at(t[:, None, None], x_t.dtype)
        else:
            self.asked.append(t)
            if (t, x_t.dtype) not in self.known:
                self.known[t, x_t.dtype] = self._at(torch.full((1, 1, 1), t, dtype=torch.float64), x_t.dtype)
            parts = self.known[t, x_t.dtype]
        start, gain, noisy, shifts, logs = parts
        if len(self.means) == 1:
            x0 = torch.addcmul(start[:, 0], gain[:, 0], x_t)
        else:
            logs = logs - (x_t[:, None] - shifts).square().div_(noisy).sum(-1) / 2
            x0 = (logs.softmax(1)[..., None] * torch.addcmul(start, gain, x_t[:, None])).sum(1)
        return Answer(x0, variance=x_t.new_ones(()).expand_as(x_t))

    def law(self, t: float) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of x_t, (D,) each, of the first component."""
        alpha, sigma = self.schedule(torch.tensor(t, dtype=torch.float64))
        return alpha * self.means[0], ((alpha * self.stds[0]) ** 2 + sigma**2).sqrt()

    def _at(self, t: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """m - g alpha m, g, variance and mean of x_t, and log weights, broadcasting over (B, K, D), the last over (B, K)."""
        alpha, sigma = self.schedule(t)
        noisy = (alpha * self.stds) ** 2 + sigma**2
        gain, shifts = alpha * self.stds**2 / noisy, alpha * self.means
        parts = self.means - gain * shifts, gain, noisy, shifts, self.weights.log() - noisy.log().sum(-1) / 2
        return tuple(part.to(dtype) for part in parts)


def normal(schedule: Schedule, stds: tuple[float, ...] = (0.5, 0.7, 1.0)) -> Target:
    """N(mean, std^2) along each of some coordinates."""
    means = torch.tensor([[0.5, -0.3, 0.0]])[:, : len(stds)]
    return Target(schedule, torch.ones(1), means, torch.tensor([stds]))


def mixture(schedule: Schedule) -> Target:
    """Three Gaussians in the plane, near enough to bend every path between them."""
    means = torch.tensor([[-0.9, 0.2], [0.7, 0.8], [0.3, -0.9]])
    stds = torch.tensor([[0.3, 0.45], [0.4, 0.3], [0.5, 0.35]])
    return Target(schedule, torch.tensor([0.3, 0.5, 0.2]), means, stds)


class LogRatio(Schedule):
    """alpha = 1 and sigma = exp(t): what every schedule is for x_t / alpha, with log(sigma / alpha) for its time."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), t.exp()


@functools.cache
def solved(first: float, last: float, batch: int = 48) -> tuple[Tensor, Tensor]:
    """Starts x / alpha at log(sigma / alpha) = first and the x0 where the probability flow of `mixture` takes each at `last`.

    Solved by Runge and Kutta's method in log(sigma / alpha), where it reads dy = (y - x0) d log(sigma / alpha), y = x / alpha.
    """
    denoiser = mixture(LogRatio())
    generator = torch.Generator().manual_seed(0)
    scale = (1 + torch.tensor(2 * first, dtype=torch.float64).exp()).sqrt()
    start = y = torch.randn(batch, 2, generator=generator, dtype=torch.float64) * scale
    h = (last - first) / FINE
    for k in range(FINE):
        u = first + k * h
        a = y - denoiser(y, u)
        b = (y + a * (h / 2)) - denoiser(y + a * (h / 2), u + h / 2)
        c = (y + b * (h / 2)) - denoiser(y + b * (h / 2), u + h / 2)
        d = (y + c * h) - denoiser(y + c * h, u + h)
        y = y + (a + 2 * b + 2 * c + d) * (h / 6)
    return start, denoiser(y, last)
