"""DPS, PiGDM and DDRM beside other implementations: `UNNOISE_PEERS=FOLDER python -m benchmarks restore_peers`, four minutes.

FOLDER holds deepinv and azula (`pip install --no-deps --target FOLDER deepinv azula`). What they import and these methods do not
use is stood in for where it is not there. One problem for all: a mixture of normal laws over 8 x 8 pictures with its exact
denoiser, the right half unseen, noise of 0.1; the VP schedule, 100 evaluations on an even grid from 1 to 0, torch's own noise.
Errors of the mean (in the posterior's standard deviations) and of the covariance (Frobenius, relative) of 400 samples, their sum
(mean of six seeds, the implementations in turn), and CPU seconds (median of 25 turns; the ratio to the quickest other is the
median of the turns' own, with its interval of 95 %). Exact draws have about the sum that
stands as "exact". Our PiGDM is told the spread of the data, for which the others have no option.

DPS has the best of 17 weights, each 6 % above the last (least sum, seed 0): the sum falls by a third from 0.25 to 0.34, so that a
coarser grid would compare its own places. Azula's norm is that of the whole batch: its weights are ours times the root of the
batch's size, so that the steps are about as long; one sample at a time both are the same algorithm, and "alone" is how far their
samples are apart then, at equal noise and weight. Deepinv's weight multiplies a rate, not a step: 25 of its own, likewise.
"""

import importlib.abc
import importlib.machinery
import json
import os
import statistics
import sys
import time
import types
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.posteriors import errors
from unnoise.denoiser import Mixture
from unnoise.guidance import Guided
from unnoise.guidance import PiGDM as OurPiGDM
from unnoise.operator import Mask, Measurement
from unnoise.sampler import DDIM
from unnoise.sampler import DDRM as OurDDRM
from unnoise.sampler import DPS as OurDPS
from unnoise.schedule import VP
from unnoise.tensor import Rng
from unnoise.times import Given

ROWS, STEPS, STD, SIDE = 400, 100, 0.1, 8
SCALES = tuple(0.2 * 1.06**k for k in range(17))  # to 0.51
WEIGHTS = {
    "unnoise": SCALES,
    "azula": tuple(ROWS**0.5 * w for w in SCALES),
    "deepinv": tuple(10 * 1.06**k for k in range(25)),  # to 40
}
SEEDS, ALONE = 6, 5
TURNS, INSIDE = 25, 7  # of time; the order statistics that hold the median with 95 %
Found = Callable[..., Tensor]  # a weight, a seed (0) and a number of rows (ROWS) -> samples


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for packages that are not installed: empty modules whose every attribute is an empty class."""

    def __init__(self) -> None:
        self.roots: set[str] = set()

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.roots:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        def attribute(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = attribute
        return module

    def exec_module(self, module) -> None:
        pass


def imported(name: str):
    """A module of a peer, with what it lacks stood in for."""
    absent = next((f for f in sys.meta_path if isinstance(f, Absent)), None) or Absent()
    if absent not in sys.meta_path:
        sys.meta_path.append(absent)
    while True:
        try:
            __import__(name)
            return sys.modules[name]
        except ModuleNotFoundError as error:
            if error.name.split(".")[0] in absent.roots:
                raise
            absent.roots.add(error.name.split(".")[0])
            for known in [key for key in sys.modules if key.split(".")[0] == name.split(".")[0]]:
                del sys.modules[known]


def law() -> Mixture:
    """Three smooth laws over pictures in about [-1, 1]."""
    draw = Rng(range(3)).normal((SIDE, SIDE), "means", dtype=torch.float64)
    places = torch.arange(SIDE, dtype=torch.float64)
    near = (-((places[:, None] - places) ** 2) / 8).exp()
    smooth = near @ draw @ near / 8
    spread = 0.06 * torch.kron(near, near) + 1e-3 * torch.eye(SIDE**2)
    return Mixture(VP(), torch.tensor([0.5, 0.3, 0.2]), smooth.flatten(1), spread.expand(3, -1, -1))


class Counted:
    """The exact denoiser in all the forms that are asked for; counts its evaluations."""

    def __init__(self) -> None:
        self.law, self.calls = law(), 0

    def at(self, x_t: Tensor, t: float) -> Tensor:
        self.calls += 1
        return self.law(x_t, t)

    def exploding(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """E[x | x + sigma eps]."""
        sigma = torch.as_tensor(sigma, dtype=torch.float64).flatten()[:1]
        if not sigma:
            return x
        t = float(self.law.schedule.time(-2 * sigma.log()))
        alpha = float(self.law.schedule(torch.tensor(t, dtype=torch.float64))[0])
        return self.at(x * alpha, t)


def ours(counted: Counted, measured: Measurement, grid: Given) -> dict[str, Found]:
    class Ours(Mixture):
        def answer(self, x_t, t, cond=None):
            counted.calls += 1
            return super().answer(x_t, t, cond)

    of = counted.law
    mean = of.weights @ of.means
    spread = float(((of.weights @ ((of.means - mean) ** 2)).mean() + of.covariances.diagonal(dim1=1, dim2=2).mean()) ** 0.5)
    exact = Ours(of.schedule, of.weights, of.means, of.covariances)

    def run(make) -> Found:
        def found(weight: float, seed: int = 0, rows: int = ROWS) -> Tensor:
            sampler, rule = make(weight)
            torch.manual_seed(seed)
            x = torch.randn(rows, 1, SIDE, SIDE, dtype=torch.float64)
            return sampler(Guided(exact, rule) if rule else exact, x, grid, rng=lambda like, t, s: torch.randn_like(like))

        return found

    return {
        "DPS": run(lambda weight: (OurDPS(measured, weight), None)),
        "PiGDM": run(lambda weight: (DDIM(eta=1.0), OurPiGDM(measured, spread))),
        "DDRM": run(lambda weight: (OurDDRM(measured), None)),
    }


def azula(counted: Counted, y: Tensor, known: Tensor) -> dict[str, Found]:
    denoise, dps, pgdm = (imported(f"azula.{name}") for name in ("denoise", "guidance.dps", "guidance.pgdm"))

    class Exact(denoise.Denoiser):
        schedule = staticmethod(counted.law.schedule)

        def forward(self, x_t, t, **_):
            return denoise.DiracPosterior(counted.at(x_t, float(t)))

    def run(make) -> Found:
        def found(weight: float, seed: int = 0, rows: int = ROWS) -> Tensor:
            torch.manual_seed(seed)
            return make(weight, y.expand(rows, -1, -1, -1))(torch.randn(rows, 1, SIDE, SIDE, dtype=torch.float64))

        return found

    grid = {"steps": STEPS, "silent": True, "dtype": torch.float64}
    seen, back = (lambda x: x * known), (lambda y: y * known)
    return {
        "DPS": run(lambda weight, y: dps.DPSSampler(Exact(), y, seen, weight, **grid)),
        "PiGDM": run(lambda weight, y: pgdm.PGDMSampler(Exact(), y, seen, back, eta=1.0, **grid)),
    }


def deepinv(counted: Counted, y: Tensor, known: Tensor, grid: Given) -> dict[str, Found]:
    root, fidelity = imported("deepinv"), imported("deepinv.sampling.noisy_datafidelity")
    y = y.expand(ROWS, -1, -1, -1)

    class Exact(root.models.Denoiser):
        def forward(self, x, sigma, **_):
            return counted.exploding(x, sigma)

    mask = known.double().expand(1, 1, -1, -1)
    physics = root.physics.Inpainting(
        img_size=(1, SIDE, SIDE), mask=mask, noise_model=root.physics.GaussianNoise(STD), device="cpu"
    ).double()

    def diffusion(term, seed: int) -> Tensor:
        torch.manual_seed(seed)
        model = root.sampling.PosteriorDiffusion(
            data_fidelity=term, denoiser=Exact(), sde=root.sampling.VariancePreservingDiffusion(alpha=1.0),
            solver=root.sampling.DDPMSolver(timesteps=torch.tensor(grid.values, dtype=torch.float64)), minus_one_one=False,
        )  # fmt: skip
        return model(y, physics, x_init=tuple(y.shape), denoise_output=False)

    def ddrm(weight: float, seed: int = 0) -> Tensor:
        alpha, sigma = counted.law.schedule(torch.tensor(grid.values[:-1], dtype=torch.float64))
        torch.manual_seed(seed)
        return root.sampling.DDRM(Exact(), sigmas=(sigma / alpha).numpy())(y.clone(), physics)

    return {
        "DPS": lambda weight, seed=0: diffusion(fidelity.DPSDataFidelity(denoiser=Exact(), weight=weight), seed),
        "PiGDM": lambda weight, seed=0: diffusion(fidelity.PiGDMDataFidelity(denoiser=Exact()), seed),
        "DDRM": ddrm,
    }


def main() -> None:
    sys.path[:0] = [os.environ["UNNOISE_PEERS"]]
    torch.set_default_dtype(torch.float64)
    counted = Counted()
    known = torch.ones(SIDE, SIDE)
    known[:, SIDE // 2 :] = 0
    truth = (
        counted.law.means[1]
        + torch.linalg.cholesky(counted.law.covariances[1]) @ Rng(7).normal((SIDE**2,), "x", dtype=torch.float64)[0]
    )
    y = (truth.reshape(1, 1, SIDE, SIDE) + STD * Rng(8).normal((1, SIDE, SIDE), "noise", dtype=torch.float64)) * known
    rows = torch.eye(SIDE**2)[known.flatten() > 0]
    posterior = counted.law.given(rows, rows @ y.flatten(), STD)
    grid = Given(tuple(torch.linspace(1, 0, STEPS + 1).tolist()), final=True)
    all_of = {
        "unnoise": ours(counted, Measurement(Mask(1 - known), y, STD), grid),
        "azula": azula(counted, y, known),
        "deepinv": deepinv(counted, y, known, grid),
    }
    methods = {name: {lib: found[name] for lib, found in all_of.items() if name in found} for name in all_of["unnoise"]}
    result = {name: compared(name, libraries, counted, posterior) for name, libraries in methods.items()}
    weights = (SCALES[8], WEIGHTS["azula"][8] / ROWS**0.5)
    mine, theirs = (
        torch.cat([methods["DPS"][library](weight, seed, 1) for seed in range(ALONE)])
        for library, weight in zip(("unnoise", "azula"), weights, strict=True)
    )
    result["DPS"]["alone"] = float((mine - theirs).abs().max())
    print(json.dumps({"rows": ROWS, "exact": round(exact(posterior), 4), "evaluations": STEPS, "methods": result}))


def compared(name: str, libraries: dict[str, Found], counted: Counted, posterior: Mixture) -> dict:
    """Errors and seconds of each library, in turn for each seed, with its best weight."""
    best: dict = {}
    for library, found in libraries.items():
        weights = WEIGHTS[library] if name == "DPS" else (1.0,)
        best[library] = min((measured(found, weight, 0, counted, posterior) for weight in weights), key=lambda m: m["sum"])
    rounds = [
        {lib: measured(found, best[lib]["weight"], seed, counted, posterior) for lib, found in libraries.items()}
        for seed in range(SEEDS)
    ]
    for library, found in best.items():
        for key in ("mean", "covariance", "sum"):
            found[key] = round(sum(one[library][key] for one in rounds) / SEEDS, 4)
    spent = [{lib: seconds(found, best[lib]["weight"], seed) for lib, found in libraries.items()} for seed in range(TURNS)]
    for library, found in best.items():
        found["seconds"] = round(statistics.median(one[library] for one in spent), 3)
        print(name, library, found, file=sys.stderr)
    others = [library for library in best if library != "unnoise"]
    quick = min(others, key=lambda library: best[library]["seconds"])
    ratios = sorted(one["unnoise"] / one[quick] for one in spent)
    return best | {
        "error_ratio": round(best["unnoise"]["sum"] / min(best[library]["sum"] for library in others), 3),
        "time_ratio": round(statistics.median(ratios), 3),
        "time_ratio_interval": [round(ratios[INSIDE], 3), round(ratios[-1 - INSIDE], 3)],
    }


def seconds(found: Found, weight: float, seed: int) -> float:
    started = time.process_time()
    found(weight, seed)
    return time.process_time() - started


def measured(found: Found, weight: float, seed: int, counted: Counted, posterior: Mixture) -> dict[str, float]:
    counted.calls = 0
    x = found(weight, seed).detach().flatten(1).double()
    mean, covariance = errors(x, posterior)
    return {"mean": mean, "covariance": covariance, "sum": mean + covariance, "weight": round(weight, 3),
            "evaluations": counted.calls}  # fmt: skip


def exact(posterior: Mixture) -> float:
    """The sum of errors of as many exact draws, mean of 20."""
    generator = torch.Generator().manual_seed(0)
    roots, found = posterior.vectors * posterior.values.sqrt()[:, None], 0.0
    for _ in range(20):
        component = torch.multinomial(posterior.weights, ROWS, replacement=True, generator=generator)
        z = torch.randn(ROWS, SIDE**2, generator=generator, dtype=torch.float64)
        found += sum(errors(posterior.means[component] + torch.einsum("bde,be->bd", roots[component], z), posterior)) / 20
    return found


if __name__ == "__main__":
    main()
