"""How exact are the methods for inverse problems? `python -m benchmarks posteriors`: minutes.

Exact denoisers of 2-D laws, one number measured, and the posterior in closed form. For each method the error of the mean, in the
posterior's standard deviations, and that of the covariance (Frobenius, relative), with the evaluations of one sample; beside them
what as many exact draws have (mean and 95th percentile over 200 repetitions). A method is "within" where neither error exceeds
the 95th percentile.
"""

import json
import time

import torch

from unnoise.denoiser import Gaussian, Mixture
from unnoise.guidance import MMPS, Guided, PiGDM
from unnoise.operator import Matrix, Measurement
from unnoise.sampler import (
    DDIM,
    DDNM,
    DDRM,
    DPS,
    Langevin,
    RePaint,
    Replacement,
    ReplacementPC,
    SplitGibbs,
    Twisted,
    UniPC,
    prior,
)
from unnoise.schedule import Cosine
from unnoise.tensor import Rng
from unnoise.times import Auto

ROWS, STEPS, FINE = 1000, 100, 200
A = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
Y = torch.tensor([[0.7]], dtype=torch.float64)
NONE = 1e-6  # the noise of what is noiseless, in the closed form


def laws() -> dict[str, Mixture]:
    schedule = Cosine()
    means = torch.tensor([[1.5, 1.0], [-1.5, 0.5], [0.2, -1.5]])
    spread = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.2]], [[0.25, -0.1], [-0.1, 0.3]]])
    return {
        "normal": Gaussian(schedule, torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.6], [0.6, 0.7]])),
        "mixture": Mixture(schedule, torch.tensor([0.3, 0.3, 0.4]), means, spread),
    }


def methods(measured: Measurement) -> dict[str, tuple]:
    """Sampler, rule and number of times of each method."""
    free, fine = DDIM(eta=1.0), UniPC(3)
    found = {
        "replacement": (Replacement(measured), None, STEPS),
        "replacement, predictor-corrector": (ReplacementPC(measured, corrector=Langevin(rule="sigma")), None, STEPS),
        **{
            f"RePaint, {r} resamplings": (RePaint(measured, jump=5, resamplings=r), None, STEPS)
            for r in (1, 2, 5, 10)
        },
        "DDRM": (DDRM(measured), None, STEPS),
        "DDNM": (DDNM(measured), None, STEPS),
        "DPS, scale 1": (DPS(measured), None, STEPS),
        "DPS, scale 0.3": (DPS(measured, 0.3), None, STEPS),
        "PiGDM": (free, PiGDM(measured), STEPS),
        "PiGDM, ODE": (fine, PiGDM(measured), STEPS),
        "MMPS": (free, MMPS(measured), STEPS),
        "MMPS, ODE": (fine, MMPS(measured), STEPS),
    }  # fmt: skip
    for particles in (1, 8, 32):
        found[f"Twisted, {particles} particles"] = (Twisted(measured, particles), None, FINE)
    if measured.std:
        for sweeps in (0, 10, 40):
            found[f"SplitGibbs, {sweeps} sweeps"] = (SplitGibbs(measured, sweeps), None, FINE)
    return found


def main() -> None:
    result = {}
    for name, law in laws().items():
        for std in (0.0, 0.3):
            posterior = law.given(A, Y[0], std or NONE)
            limit = monte_carlo(posterior, ROWS)
            table = {}
            for method, (sampler, rule, steps) in methods(Measurement(Matrix(A), Y, std)).items():
                denoiser, rng, started = Guided(law, rule) if rule else law, Rng(range(ROWS)), time.perf_counter()
                x = prior(law.schedule, (2,), 1.0, rng, torch.float64)
                *_, last = sampler.walk(denoiser, x, Auto()(law.schedule, steps), rng=rng)
                mean, covariance = errors(last.x, posterior)
                within = mean <= limit["mean_95"] and covariance <= limit["covariance_95"]
                table[method] = {"mean": round(mean, 4), "covariance": round(covariance, 4), "evaluations": last.nfe}
                table[method] |= {"within": within, "seconds": round(time.perf_counter() - started, 2)}
            result[f"{name}, std {std:g}"] = {"rows": ROWS, "monte_carlo": limit, "methods": table}
    print(json.dumps(result))


def errors(x: torch.Tensor, posterior: Mixture) -> tuple[float, float]:
    """Of the mean, in standard deviations, and of the covariance, relative."""
    mean = posterior.weights @ posterior.means
    off = posterior.means - mean
    covariance = torch.einsum("k,kde->de", posterior.weights, posterior.covariances + off[:, :, None] * off[:, None])
    far = torch.cov(x.T) - covariance
    return float((x.mean(0) - mean).norm() / covariance.trace().sqrt()), float(far.norm() / covariance.norm())


def monte_carlo(posterior: Mixture, rows: int, repeat: int = 200) -> dict[str, float]:
    """The errors of exact draws."""
    generator = torch.Generator().manual_seed(0)
    roots = posterior.vectors * posterior.values.sqrt()[:, None]
    found = []
    for _ in range(repeat):
        component = torch.multinomial(posterior.weights, rows, replacement=True, generator=generator)
        z = torch.randn(rows, posterior.means.shape[1], generator=generator, dtype=torch.float64)
        found.append(errors(posterior.means[component] + torch.einsum("bde,be->bd", roots[component], z), posterior))
    of = torch.tensor(found)
    names = ("mean", "covariance")
    return {n: float(of[:, i].mean()) for i, n in enumerate(names)} | {
        f"{n}_95": float(of[:, i].quantile(0.95)) for i, n in enumerate(names)
    }


if __name__ == "__main__":
    main()
