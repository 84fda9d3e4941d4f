"""Schedules given by a table: T levels of noise, as the chains of the papers have them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from unnoise.schedule.base import Schedule

ON_GRID = 1e-9  # of a table's step: what float64 arithmetic may lose of a position on the grid
FOUND = 1e-6  # what it may lose of one that is found from its log-SNR


class Table(Schedule):
    """T levels of noise. Entry i (from 0, the first *noised* level) stands at time (i + 1) / T, clean data at t = 0.

    On these times the table's values are exact. Between two entries log(sigma / alpha) is linear in t; below the first
    (sigma / alpha)^2 is, down to 0; above the last but one alpha / sigma is, where the last has no signal at all.

    Args:
        alphas, sigmas: (T,), with sigma / alpha rising strictly.
    """

    def __init__(self, alphas: Tensor, sigmas: Tensor) -> None:
        self.alphas, self.sigmas = alphas, sigmas
        self.t_min = 1 / len(alphas)
        clean = torch.zeros(1, dtype=torch.float64)
        self._exact = torch.cat([clean + 1, alphas]), torch.cat([clean, sigmas])
        self._ratio = sigmas / alphas
        self._logs = self._ratio.log()

    def __len__(self) -> int:
        return len(self.alphas)

    @property
    def times(self) -> Tensor:
        """The t of each entry, (T,), in index order."""
        return torch.arange(1, len(self) + 1, dtype=torch.float64) / len(self)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.scaled(*self._between(t * len(self)))
        entry, on_grid = self._entry(t)
        exact = [table[entry] for table in self._exact]
        # Where t is on the grid the table's value replaces the interpolated one, whose derivative stays.
        return (
            torch.where(on_grid, exact[0] + (alpha - alpha.detach()), alpha),
            torch.where(on_grid, exact[1] + (sigma - sigma.detach()), sigma),
        )

    @staticmethod
    @abstractmethod
    def scaled(signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The alpha and sigma that stand in the proportion of `signal` to `noise`."""

    def time(self, log_snr: Tensor) -> Tensor:
        t = super().time(log_snr)
        entry = (t * len(self)).round()
        return torch.where((t * len(self) - entry).abs() < FOUND, entry / len(self), t)

    def uniform(self, u: Tensor) -> Tensor:
        return ((u * len(self)).floor() + 1).clamp(max=len(self)) / len(self)

    def _between(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise up to a factor, at `position` = t T."""
        left = position.detach().floor().clamp(1, len(self) - 1).long()
        share = position - left
        first = self._ratio[0] * position.clamp(min=0).sqrt()
        rise = (self._logs[left] - self._logs[left - 1]).nan_to_num(posinf=0.0)
        noise = torch.where(position < 1, first, (self._logs[left - 1] + share * rise).exp())
        fades = self.alphas[left] == 0
        return torch.where(fades, 1 - share, torch.ones_like(share)), torch.where(fades, self._ratio[left - 1], noise)

    def _entry(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest level (0 is clean data, i + 1 is entry i), and whether t stands on it."""
        position = t.detach() * len(self)
        entry = position.round().clamp(0, len(self))
        return entry.long(), (position - entry).abs() < ON_GRID


class Discrete(Table):
    """A chain of T steps q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I), also between its steps.

        alpha_t = sqrt(prod (1 - beta));  sigma_t = sqrt(1 - alpha_t^2)

    Args:
        betas: Variances of the steps, each in (0, 1); 1 is allowed at the end (no signal is left there).

    Raises:
        ValueError: For fewer than two betas or one outside (0, 1).

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 2 and 4. arXiv:2006.11239
    """

    def __init__(self, betas: Sequence[float] | Tensor) -> None:
        self.betas = torch.as_tensor(betas, dtype=torch.float64)
        inside = (self.betas > 0) & (self.betas < 1)
        inside[-1:] |= self.betas[-1:] == 1
        if len(self.betas) < 2 or not inside.all():
            raise ValueError(f"betas: at least two variances in (0, 1) are expected, given {len(self.betas)}"
                             + "".join(f", among them {float(b):g}" for b in self.betas[~inside][:1]))  # fmt: skip
        kept = torch.cumprod(1 - self.betas, 0)
        super().__init__(kept.sqrt(), (1 - kept).sqrt())
        self.kept = torch.cat([torch.ones(1, dtype=torch.float64), kept])  # alpha^2 of clean data and of each entry

    @staticmethod
    def scaled(signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        power = (signal**2 + noise**2).sqrt()
        return signal / power, noise / power

    def transition(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """As every schedule's; between entries of the table std^2 is 1 - prod (1 - beta), and for one step beta itself."""
        scale, std = super().transition(s, t)
        (first, on), (last, also_on) = self._entry(s), self._entry(t)
        one = self.betas[(last - 1).clamp(min=0)]
        variance = torch.where(last == first + 1, one, 1 - self.kept[last] / self.kept[first])
        return scale, torch.where(on & also_on & (first < last), variance.sqrt(), std)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(betas=[{self.betas[0]:.6g}, ..., {self.betas[-1]:.6g}])"


class Sigmas(Table):
    """Any table of noise with the signal left as it is: alpha_t = 1, sigma_t from a list, log-linear between its entries.

    Args:
        sigmas: Standard deviations of the noise, rising strictly.

    Raises:
        ValueError: For fewer than two, or if they are not positive and strictly rising.

    Reference: Song & Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, section 4.1.
    arXiv:1907.05600
    """

    def __init__(self, sigmas: Sequence[float] | Tensor) -> None:
        table = torch.as_tensor(sigmas, dtype=torch.float64)
        if len(table) < 2 or not (table[0] > 0 and (table.diff() > 0).all() and table.isfinite().all()):
            raise ValueError(f"sigmas: at least two, positive and strictly rising, are expected, given {table.tolist()[:8]}")
        super().__init__(torch.ones_like(table), table)

    @staticmethod
    def scaled(signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(signal), noise

    def __repr__(self) -> str:
        return f"Sigmas([{self.sigmas[0]:.6g}, ..., {self.sigmas[-1]:.6g}])"


def betas_of(signal: Callable[[float], float], steps: int, beta_max: float = 0.999) -> Tensor:
    """The betas of a chain whose alpha_t^2 is signal(t), up to a factor, at t = 0, 1 / steps, ..., 1; (steps,), at most beta_max.

    beta_i = 1 - signal((i + 1) / steps) / signal(i / steps)

    Reference: Nichol & Dhariwal 2021, section 3.2. arXiv:2102.09672
    """
    kept = [signal(i / steps) for i in range(steps + 1)]
    betas = [min(1 - later / earlier, beta_max) for earlier, later in pairwise(kept)]
    return torch.tensor(betas, dtype=torch.float64)


class LinearBetas(Discrete):
    """Betas linear in the index; `start` and `end` are those of 1000 steps and scale with 1000 / steps.

    Reference: Ho et al. 2020, section 4. arXiv:2006.11239
    """

    def __init__(self, steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> None:
        scale = 1000 / steps
        super().__init__(torch.linspace(start * scale, end * scale, steps, dtype=torch.float64))


class ScaledLinearBetas(Discrete):
    """Square roots of the betas linear in the index: the table of latent diffusion and Stable Diffusion.

    Reference: Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, appendix E.2.
    arXiv:2112.10752
    """

    def __init__(self, steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> None:
        super().__init__(torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2)


class QuadraticBetas(Discrete):
    """Square roots of the betas linear in the index, between the ends of DDPM's own ablation.

    Reference: Ho et al. 2020, reference code; Song et al., Denoising Diffusion Implicit Models, 2021, appendix D.2
    (as a choice of times). arXiv:2010.02502
    """

    def __init__(self, steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> None:
        super().__init__(torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2)


class CosineBetas(Discrete):
    """The cosine schedule of Improved DDPM.

        alpha_t^2 = f(t) / f(0);  f(t) = cos((t + offset) / (1 + offset) pi / 2)^2;  beta clipped at beta_max

    Reference: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, eq. 17. arXiv:2102.09672
    """

    def __init__(self, steps: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> None:
        super().__init__(betas_of(lambda t: math.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2, steps, beta_max))


class SigmoidBetas(Discrete):
    """A stretch of the logistic curve: gentler at both ends than the cosine, for large pictures.

        alpha_t^2 = (f(1) - f(t)) / (f(1) - f(0));  f(t) = sigmoid((start + t (end - start)) / tau);  beta clipped at beta_max

    Reference: Jabri et al., Scalable Adaptive Computation for Iterative Generation, 2022, appendix (gamma). arXiv:2212.11972
    """

    def __init__(
        self, steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, beta_max: float = 0.999
    ) -> None:
        def f(t: float) -> float:
            return 1 / (1 + math.exp(-(start + t * (end - start)) / tau))

        super().__init__(betas_of(lambda t: (f(1) - f(t)) / (f(1) - f(0)), steps, beta_max))


class ZeroSNR(Discrete):
    """A chain brought to lose the signal altogether at its end; it keeps the first level. Not for eps-prediction.

        alpha_t <- alpha_1 (alpha_t - alpha_T) / (alpha_1 - alpha_T)

    Reference: Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2023, algorithm 1. arXiv:2305.08891
    """

    def __init__(self, schedule: Discrete) -> None:
        first, last = schedule.alphas[0], schedule.alphas[-1]
        kept = (first * (schedule.alphas - last) / (first - last)) ** 2
        super().__init__(1 - kept / torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]]))


class Chords(Discrete):
    """Another chain, between whose entries sigma / alpha is linear in t, as the solvers in that variable have published it.

    Reference: Katherine Crowson, k-diffusion; Hugging Face diffusers (EulerDiscreteScheduler and its kin)
    """

    def __init__(self, schedule: Discrete) -> None:
        super().__init__(schedule.betas)

    def _between(self, position: Tensor) -> tuple[Tensor, Tensor]:
        signal, noise = super()._between(position)
        left = position.detach().floor().clamp(1, len(self) - 1).long()
        chord = torch.lerp(self._ratio[left - 1], self._ratio[left], position - left)
        return signal, torch.where((position < 1) | (self.alphas[left] == 0), noise, chord)
