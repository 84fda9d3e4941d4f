"""Denoisers in closed form: the oracles of the tests, and what a network trained for ever would become.

For data x ~ N(mean, C) and x_t = alpha x + sigma eps the posterior of x given x_t is normal, with

    mean + alpha C (alpha^2 C + sigma^2 I)^-1 (x_t - alpha mean)   and   sigma^2 C (alpha^2 C + sigma^2 I)^-1

for its mean and covariance; a mixture's is the mixture of its components', weighed by their responsibility for x_t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise.condition import Condition, Conditions, complete
from unnoise.denoiser.base import Answer, Time, times
from unnoise.schedule import Schedule
from unnoise.tensor import Cond, expand


class Exact:
    """What the closed forms share: no network, and no conditions unless they say so."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.conds: Conditions = {}

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        alpha, sigma = self._coefficients(x_t, t)
        cond = complete(self.conds, cond, len(x_t), "cpu")
        return Answer(self.posterior_mean(_rows(x_t), alpha, sigma, cond).reshape(x_t.shape).to(x_t))

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0

    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        """E[x | x_t] for rows (B, D) and coefficients (B, 1), all float64 on the CPU."""
        raise NotImplementedError

    def _coefficients(self, x_t: Tensor, t: Time) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule(times(t, len(x_t)))
        return alpha[:, None], sigma[:, None]


class Mixture(Exact):
    """The exact denoiser of a mixture of K Gaussians over D values, and all else that is known of it in closed form.

    Args:
        schedule: The noising.
        weights: (K,), positive; brought to sum 1.
        means: (K, D).
        covariances: (K, D, D).
        classes: The class of each component, (K,), from 0. Where it is given the condition `label`, (B,), leaves the components
            of one class; its null leaves all.

    Cost: O(B K D^2) an evaluation; the eigenvectors are found once.
    """

    def __init__(
        self, schedule: Schedule, weights: Tensor, means: Tensor, covariances: Tensor, classes: Sequence[int] | None = None
    ) -> None:
        super().__init__(schedule)
        self.weights = weights.double() / weights.double().sum()
        self.means, self.covariances = means.double(), covariances.double()
        self.values, self.vectors = torch.linalg.eigh(self.covariances)  # (K, D), (K, D, D)
        self.values = self.values.clamp(min=0)
        self.classes = torch.tensor([0] * len(weights) if classes is None else list(classes))
        if classes is not None:
            self.conds = {"label": Condition(classes=tuple(str(i) for i in range(int(self.classes.max()) + 1)))}

    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        seen, noisy = self._whiten(x_t, alpha, sigma)
        return torch.einsum("bk,bkd->bd", self._log_parts(seen, noisy, cond).softmax(1), self._means(seen, noisy, alpha))

    def posterior_covariance(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        """Cov[x | x_t], (B, D, D): that within the components and that between their means."""
        seen, noisy, (alpha, sigma), cond = self._look(x_t, t, cond)
        share, means = self._log_parts(seen, noisy, cond).softmax(1), self._means(seen, noisy, alpha)
        within = (sigma**2)[..., None] * self.values / noisy
        off = means - torch.einsum("bk,bkd->bd", share, means)[:, None]
        parts = torch.einsum("kde,bke,kfe->bkdf", self.vectors, within, self.vectors) + off[..., None] * off[:, :, None]
        return torch.einsum("bk,bkdf->bdf", share, parts)

    def log_prob(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        """log p_t(x_t), (B,), in nats; given the label where there is one."""
        seen, noisy, _, cond = self._look(x_t, t, cond)
        return self._log_parts(seen, noisy, cond).logsumexp(1)

    def score(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        """grad log p_t(x_t), of x_t's shape, in float64."""
        seen, noisy, _, cond = self._look(x_t, t, cond)
        share = self._log_parts(seen, noisy, cond).softmax(1)
        return -torch.einsum("bk,kde,bke->bd", share, self.vectors, seen / noisy).reshape(x_t.shape)

    def responsibilities(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        """The probability that x_t came from each component, (B, K)."""
        seen, noisy, _, cond = self._look(x_t, t, cond)
        return self._log_parts(seen, noisy, cond).softmax(1)

    def log_class(self, x_t: Tensor, t: Time) -> Tensor:
        """log p(label | x_t), (B, classes): the exact noisy classifier."""
        seen, noisy, _, cond = self._look(x_t, t, None)
        parts = self._log_parts(seen, noisy, cond).log_softmax(1)
        return torch.stack([parts[:, self.classes == i].logsumexp(1) for i in range(int(self.classes.max()) + 1)], 1)

    def given(self, a: Tensor, y: Tensor, std: float) -> Mixture:
        """The mixture of x given the measurement y = a x + std eps; a (M, D), y (M,). It is one again."""
        gain, evidence = self._measure(a, y, std)
        means = self.means + torch.einsum("kdm,km->kd", gain, y - self.means @ a.T)
        covariances = self.covariances - gain @ a @ self.covariances
        classes = self.classes.tolist() if self.conds else None
        return Mixture(self.schedule, evidence.softmax(0), means, (covariances + covariances.mT) / 2, classes)

    def log_evidence(self, a: Tensor, y: Tensor, std: float) -> Tensor:
        """log p(y) of the measurement y = a x + std eps, in nats."""
        return self._measure(a, y, std)[1].logsumexp(0)

    def _measure(self, a: Tensor, y: Tensor, std: float) -> tuple[Tensor, Tensor]:
        """The Kalman gain of each component, (K, D, M), and log (weight_k p(y; component k)), (K,)."""
        spread = a @ self.covariances @ a.T + std**2 * torch.eye(len(a)).to(a)
        law = torch.distributions.MultivariateNormal(self.means @ a.T, spread)
        return self.covariances @ a.T @ torch.linalg.inv(spread), self.weights.log() + law.log_prob(y)

    def _look(self, x_t: Tensor, t: Time, cond: Cond | None) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], Cond]:
        coefficients = self._coefficients(x_t, t)
        return *self._whiten(_rows(x_t), *coefficients), coefficients, complete(self.conds, cond, len(x_t), "cpu")

    def _whiten(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x_t less each component's mean, in that component's axes, and the variance of x_t along them; (B, K, D) each."""
        centred = x_t[:, None] - alpha[..., None] * self.means
        seen = torch.einsum("kde,bkd->bke", self.vectors, centred)
        return seen, alpha[..., None] ** 2 * self.values + sigma[..., None] ** 2

    def _means(self, seen: Tensor, noisy: Tensor, alpha: Tensor) -> Tensor:
        """E[x | x_t, component], (B, K, D)."""
        return self.means + torch.einsum("kde,bke->bkd", self.vectors, alpha[..., None] * self.values / noisy * seen)

    def _log_parts(self, seen: Tensor, noisy: Tensor, cond: Cond) -> Tensor:
        """log (weight_k N(x_t; component k)), (B, K), with the weights of one class where there is a label."""
        weights = self.weights.expand(len(seen), -1)
        if "label" in cond:
            label = cond["label"][:, None]
            weights = torch.where((self.classes == label) | (label > self.classes.max()), weights, 0)
        weights = weights / weights.sum(1, keepdim=True)
        return weights.log() - (seen**2 / noisy + noisy.log() + math.log(2 * math.pi)).sum(2) / 2


class Gaussian(Mixture):
    """The exact denoiser of N(mean, covariance): a mixture of one. `mean` (D,), `covariance` (D, D)."""

    def __init__(self, schedule: Schedule, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(schedule, torch.ones(1), mean[None], covariance[None])


class Empirical(Exact):
    """The exact denoiser of a data set, each of whose N samples is as likely as the others: it generates copies.

        E[x | x_t] = sum_i w_i x_i;  w = softmax(-|x_t - alpha x_i|^2 / (2 sigma^2))

    Cost: O(B N D) an evaluation.

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, eq. 57.
    arXiv:2206.00364
    """

    def __init__(self, schedule: Schedule, data: Tensor) -> None:
        super().__init__(schedule)
        self.data = data.flatten(1).double()

    def posterior_mean(self, x_t: Tensor, alpha: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        distance = (x_t**2).sum(1, keepdim=True) - 2 * alpha * (x_t @ self.data.T) + (alpha * self.data.norm(dim=1)) ** 2
        return (-distance / (2 * sigma**2)).softmax(1) @ self.data


def score(x_t: Tensor, x0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """grad log p_t(x_t) = (alpha E[x | x_t] - x_t) / sigma^2 (Tweedie's formula); coefficients (B,)."""
    return (expand(alpha, x_t) * x0 - x_t) / expand(sigma, x_t) ** 2


def _rows(x: Tensor) -> Tensor:
    return x.flatten(1).to("cpu", torch.float64)
