"""score_sde: the three equations, and their predictors, correctors and walks.

At time t the reference's chain stands at index floor(t (N - 1)), entry by entry our table of N; its score is taken at t itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unnoise import level, prediction
from unnoise.condition import Conditions
from unnoise.denoiser import Answer, Denoiser, Gaussian, Time, score
from unnoise.prediction import Coefficients, Prediction
from unnoise.sampler import Ancestral, EulerMaruyama, Langevin, ReverseDiffusion, Sampler, Walk
from unnoise.sampler.langevin import Level
from unnoise.schedule import VE, VP, Discrete, Schedule, Sigmas, SubVP, Table
from unnoise.tensor import Cond, expand

from .harness import Case, Result, stored, within
from .truth import flow as solve

SPREAD = 0.9  # of the noise in the reference's xs, so that they are no draws of its law

CONTINUOUS: dict[str, Callable[..., Schedule]] = {"vp": VP, "subvp": SubVP, "ve": VE}


class Scored:
    """A denoiser that has the score at one time of the reference's and answers at any of a schedule's."""

    evaluations = 1
    conds: Conditions = {}

    def __init__(self, schedule: Schedule, of: Callable[[Tensor], Tensor]) -> None:
        self.schedule, self.of = schedule, of

    def project(self, x: Tensor, cond: Cond | None = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Answer:
        alpha, sigma = self.schedule(torch.as_tensor(t, dtype=torch.float64))
        return Answer((x_t + sigma**2 * self.of(x_t)) / alpha)

    def __call__(self, x_t: Tensor, t: Time, cond: Cond | None = None) -> Tensor:
        return self.answer(x_t, t, cond).x0


def options(case: Case) -> dict[str, float]:
    """The constants of an equation; sub-VP has VP's."""
    given = case.hyper["ve" if case.params["sde"] == "ve" else "vp"]
    return {name: value for name, value in given.items() if name != "N"}


def size(case: Case) -> int:
    return case.params.get("N", case.hyper["ve" if case.params["sde"] == "ve" else "vp"]["N"])


def continuous(case: Case) -> Schedule:
    return CONTINUOUS[case.params["sde"]](**options(case))


def table(case: Case) -> Table:
    """The chain of N levels."""
    n, at = size(case), options(case)
    if case.params["sde"] == "ve":
        return Sigmas(torch.linspace(math.log(at["sigma_min"]), math.log(at["sigma_max"]), n, dtype=torch.float64).exp())
    return Discrete(torch.linspace(at["beta_min"] / n, at["beta_max"] / n, n, dtype=torch.float64))


def entry(t: float, n: int) -> int:
    return int(t * (n - 1))


def data(case: Case, of: Schedule) -> Gaussian:
    """Independent normal pixels."""
    return Gaussian(of, case.shared("data/mean_pix").flatten(), torch.diag(case.shared("data/std_pix").flatten() ** 2))


def score_sde(case: Case) -> Mapping[str, Result]:
    params = case.params
    if "predictor" in params and "corrector" in params:
        return {"sample": walk(case)}
    if "predictor" in params:
        return predicted(case)
    if "corrector" in params:
        return corrected(case)
    if "continuous" in params:
        return scored(case)
    return flow(case) if "rtol" in params else coefficients(case)


def coefficients(case: Case) -> Mapping[str, Result]:
    of, x, t, xs = continuous(case), case.inputs["x"], case.inputs["t"], case.outputs["xs"]  # xs: given, a noised x
    (alpha, sigma), (f, g) = of(t), of.sde(t)
    grad = data(case, of).score(xs, t)
    results: dict[str, Result] = {
        "marginal_mean": expand(alpha, x) * x,
        "marginal_std": sigma,
        "drift": expand(f, x) * x,
        "diffusion": g,
        "score": grad,
        "xs": expand(alpha, x) * x + SPREAD * expand(sigma, x) * case.inputs["z"],
    }
    scale, std = discretised(case, t)
    results |= {"disc_f": expand(scale - 1, x) * x, "disc_G": std}
    for flow, share in ((0, 1.0), (1, 0.5)):
        results[f"rev_drift_pf{flow}"] = expand(f, x) * xs - share * expand(g**2, x) * grad
        results[f"rev_disc_f_pf{flow}"] = expand(scale - 1, x) * xs - share * expand(std**2, x) * grad
        results[f"rev_disc_G_pf{flow}"] = (1 - flow) * std
    if case.params["sde"] != "subvp":
        chain = table(case)
        betas = {"discrete_betas": chain.betas, "alphas_cumprod": chain.alphas**2} if isinstance(chain, Discrete) else {}
        results |= betas or {"discrete_sigmas": chain.sigmas}
    return results


def discretised(case: Case, t: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and deviation of one step of the chain from each time; sub-VP has no chain but Euler's steps."""
    n = size(case)
    if case.params["sde"] == "subvp":
        f, g = continuous(case).sde(t)
        return 1 + f / n, g * n**-0.5
    index = (t * (n - 1)).floor()
    return table(case).transition(index / n, (index + 1) / n)


def predictor(case: Case) -> tuple[Sampler, Schedule, Callable[[float], list[float]]]:
    """The sampler, the schedule that it walks, and its pair of times for a step of the reference."""
    name, n, sde = case.params["predictor"], size(case), case.params["sde"]
    eta = 0.0 if case.params.get("probability_flow") else 1.0
    if name == "euler_maruyama" or sde == "subvp":
        return EulerMaruyama(eta), continuous(case), lambda t: [t, t - 1 / n]  # whatever the distance to its next time
    # its ancestral step has the large variance for VP and the posterior's for VE
    ancestral = Ancestral("small" if sde == "ve" else "large")
    sampler = ancestral if name == "ancestral_sampling" else ReverseDiffusion(eta)
    return sampler, table(case), lambda t: [(entry(t, n) + 1) / n, entry(t, n) / n]


def predict(case: Case, x: Tensor, t: float, noise: Tensor) -> Tensor:
    sampler, of, pair = predictor(case)
    exact = data(case, continuous(case))
    return next(sampler.walk(Scored(of, lambda x: exact.score(x, t)), x, pair(t), rng=stored([noise]))).x


def predicted(case: Case) -> Mapping[str, Result]:
    x, noise, times = case.inputs["x"], case.inputs["noise"], case.inputs["t"].tolist()

    def rows(draw: Tensor) -> Tensor:
        return torch.cat([predict(case, x[b : b + 1], t, draw[b : b + 1]) for b, t in enumerate(times)])

    return {"x_new": rows(noise), "x_mean": rows(torch.zeros_like(noise))}


def walk(case: Case) -> Tensor:
    """At each time first the corrector, then the predictor; the last step without its noise."""
    n, noises = size(case), iter(case.inputs["noises"])
    std = options(case)["sigma_max"] if case.params["sde"] == "ve" else 1.0
    x = next(noises) * std
    for t in torch.linspace(1, case.params["eps"], n, dtype=torch.float64).tolist():
        if case.params["corrector"] != "none":
            draws = [next(noises) for _ in range(case.params["n_steps"])]
            x, _ = correct(case, x, torch.full((len(x),), t, dtype=torch.float64), draws)
        noise = next(noises)
        before, x = x, predict(case, x, t, noise)
    return predict(case, before, t, torch.zeros_like(noise))


def unscaled(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """eps for a network that takes x_t as it is, also where its variance is not 1 (sub-VP)."""
    return *prediction.eps(alpha, sigma)[:2], torch.ones_like(alpha)


def scored(case: Case) -> Mapping[str, Result]:
    """What the reference's wrapped networks are told, and the score that is made of their output."""
    x, t, sde = case.inputs["x"], case.inputs["t"], case.params["sde"]
    chained = not case.params["continuous"] and sde != "subvp"
    of: Schedule = table(case) if chained else continuous(case)
    n, told = size(case), []
    predict: Prediction = prediction.score if sde == "ve" else unscaled
    levels: Mapping[tuple[bool, bool], level.Level] = {
        (True, True): lambda of, t: level.rank(of, t).round(),
        (True, False): level.sigma,
        (False, True): level.index,
        (False, False): level.time,
    }

    class Tanh(nn.Module):
        def forward(self, x: Tensor, level: Tensor, cond: Cond) -> Tensor:
            told.append(level)
            return x.tanh()

    at = (t * (n - 1) + 1) / n if chained else t  # our time of the reference's index t (N - 1)
    denoiser = Denoiser(Tanh(), of, predict, levels[sde == "ve", chained])
    # The reference rounds the index down where it looks up its deviation, though not in the label.
    held = ((t * (n - 1)).floor() + 1) / n if chained else t
    alpha, sigma = of(held)
    grad = score(x, Denoiser(denoiser.network, of, predict, level.index)(x, held), alpha, sigma)
    told.clear()
    denoiser(x, at)
    return {"labels": told[0], "score": grad}


def flow(case: Case) -> Mapping[str, Result]:
    """The probability flow from 1 to eps; the reference gives it twice by its solver and once in closed form."""
    exact = data(case, continuous(case))
    end = solve(exact, case.inputs["x_T"], 1.0, case.params["eps"])
    return {role: within(end, "ode_and_likelihood") for role in ("sample", "sample_tight", "exact")}


def corrected(case: Case) -> Mapping[str, Result]:
    x_new, x_mean = correct(case, case.inputs["x"], case.inputs["t"], list(case.inputs["noises"]))
    return {"x_new": x_new, "x_mean": x_mean}


def correct(case: Case, x: Tensor, t: Tensor, noises: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The corrector at a time for each row, with and without its last noise. The reference's norms are means over the batch."""
    if case.params["corrector"] == "ald":  # no norms: rows are independent
        rows = [stir(case, x[b : b + 1], t[b : b + 1], [z[b : b + 1] for z in noises], "sigma") for b in range(len(x))]
        return torch.cat([new for new, _ in rows]), torch.cat([mean for _, mean in rows])
    return stir(case, x, t, noises, "norms")


def stir(case: Case, x: Tensor, t: Tensor, noises: list[Tensor], rule: Literal["norms", "sigma"]) -> tuple[Tensor, Tensor]:
    corrector = Langevin(case.params["snr"], 1, rule, "batch")
    exact, sigma = data(case, continuous(case)), continuous(case)(t)[1]
    chain = table(case)
    kept = 1 - chain.betas[(t * (size(case) - 1)).long()] if isinstance(chain, Discrete) else torch.ones_like(t)
    # Rows at times of their own: the score is put as that of a denoiser at alpha = sigma = 1, its level in the kept share alone.
    scores = Scored(Sigmas([1.0, 2.0]), lambda x: exact.score(x, t))
    here: Any = Level(0.5, -1.0, 1.0, float(sigma[0]), kept if rule == "norms" else float(kept[0]))

    def once(x: Tensor, noise: Tensor) -> Tensor:
        return corrector(Walk(scores, None, stored([noise]), [0.5], None), x, here)

    for noise in noises:
        before, x = x, once(x, noise)
    return x, (x + once(before, -noise)) / 2
