"""Our schedule, prediction, level, sampler, times and clipping as one scheduler of diffusers, or a refusal by name.

Nothing is matched by what it is called where numbers can tell: a prediction is known by its coefficients, a level by its values,
the times by the entries that they visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unnoise import prediction
from unnoise.denoiser import Denoiser
from unnoise.guidance import CFG, Clip, Guidance
from unnoise.model import Model
from unnoise.sampler import DDIM, Ancestral, DPMpp2M, DPMpp3M, Sampler
from unnoise.schedule import CosineBetas, Discrete, LinearBetas, ScaledLinearBetas, Schedule, Table
from unnoise.times import Given, Leading, Linspace, Times, Trailing

STEPS = 1000  # of the table that a continuous schedule becomes
PREDICTIONS = {"epsilon": prediction.eps, "sample": prediction.x0, "v_prediction": prediction.v}


@dataclass(frozen=True)
class Stock:
    """What a pipeline of diffusers does, in its words and in ours.

    Args:
        name, config: Of the scheduler.
        denoiser: Our network told and read as that pipeline does.
        table: Its schedule.
        sampler, guidance, times: The same walk as ours.
    """

    name: str
    config: Mapping[str, Any]
    denoiser: Denoiser
    table: Discrete
    sampler: Sampler
    guidance: tuple[Guidance, ...]
    times: Given


def stock(model: Model, network: nn.Module) -> Stock:
    """The scheduler that says the same as a model does by default, for its network or one with the conditions fixed.

    Raises:
        ValueError: For what no scheduler that `DDPMPipeline` can run says; names it.
    """
    table, kind = chain(model.denoiser)
    clip = clipping(model.guidance)
    name, options, sampler = walker(model.sampler, clip)
    if getattr(network, "variance", False) != (options.get("variance_type") == "learned_range"):
        raise ValueError(
            f"sampler {model.sampler!r}: of a network that learned a variance diffusers runs Ancestral(variance='learned'), "
            "and that of no other"
        )
    steps = model.defaults.steps
    spacing, times = visited(model.times.unfitted, table, steps, name)
    _check_end(name, options, times, table)
    config = {"num_train_timesteps": len(table), **betas(table), "prediction_type": kind, **options, **spacing}
    rules = () if clip is None else (Clip(-clip, clip),)
    denoiser = Denoiser(network, table, PREDICTIONS[kind])
    return Stock(name, config, denoiser.eval(), table, sampler, rules, times)


def chain(denoiser: Denoiser) -> tuple[Discrete, str]:
    """The table that a schedule is, or is sampled at, and what the network predicts on it.

    A schedule that does not preserve variance becomes the one of the same log-SNR that does, where the network cannot tell.

    Raises:
        ValueError: For a level or a prediction that is not theirs.
    """
    schedule = denoiser.schedule
    steps = len(schedule) if isinstance(schedule, Table) else STEPS
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    alpha, sigma = schedule(t)
    power = (alpha**2 + sigma**2).sqrt()
    table = schedule if isinstance(schedule, Discrete) else _sampled(alpha / power, schedule)
    told = denoiser.level(schedule, t)
    if not torch.allclose(told, torch.arange(steps, dtype=torch.float64), rtol=0, atol=1e-6 * steps):
        name = getattr(denoiser.level, "__name__", repr(denoiser.level))
        raise ValueError(f"level {name!r}: diffusers tells a network the entry of its table; that needs a model of level 'index'")
    for kind, rule in PREDICTIONS.items():
        c_skip, c_out, c_in = rule(alpha / power, sigma / power)
        if _equal(denoiser.predict(alpha, sigma), (c_skip / power, c_out, c_in / power)):
            return table, kind
    name = getattr(denoiser.predict, "__name__", repr(denoiser.predict))
    raise ValueError(f"prediction {name!r} on {schedule!r} is none of diffusers' epsilon, sample and v_prediction")


def betas(table: Discrete) -> dict[str, Any]:
    """The table by its name in diffusers, or in full."""
    first, last, steps = float(table.betas[0]), float(table.betas[-1]), len(table)
    if isinstance(table, Sampled):
        return {"trained_betas": table.singles}
    for kind, maker in (("linear", LinearBetas), ("scaled_linear", ScaledLinearBetas)):
        if torch.allclose(table.betas, maker(steps, *_unscaled(maker, first, last, steps)).betas, rtol=1e-9, atol=0):
            return {"beta_schedule": kind, "beta_start": first, "beta_end": last}
    if torch.allclose(table.betas, CosineBetas(steps).betas, rtol=1e-9, atol=0):
        return {"beta_schedule": "squaredcos_cap_v2"}
    return {"trained_betas": _singles(table.kept[1:])}


def clipping(rules: list[Guidance]) -> float | None:
    """Where x0 is clipped, if it is."""
    rules = [rule for rule in rules if not (isinstance(rule, CFG) and rule.scale == 1)]
    if not rules:
        return None
    rule, *more = rules
    if more or not isinstance(rule, Clip) or rule.low != -rule.high:
        raise ValueError(
            f"guidance {rules}: a pipeline of diffusers clips at most, evenly on both sides; export it without the rest"
        )
    return rule.high


def walker(sampler: Sampler, clip: float | None) -> tuple[str, dict[str, Any], Sampler]:
    """The scheduler's class, its options beside table and times, and the sampler of ours that it is."""
    clipped = {"clip_sample": clip is not None, "clip_sample_range": 1.0 if clip is None else clip}
    match sampler:
        case Ancestral(variance="small" | "large" | "learned"):
            kind = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}[sampler.variance]
            return "DDPMScheduler", {"variance_type": kind, **clipped}, sampler
        case DDIM(eta=0) if sampler.raw or clip is None:
            return "DDIMScheduler", clipped, DDIM(raw=True)
        case DDIM(raw=False) | DPMpp2M() if sampler.eta in (0, 1):
            return "DPMSolverMultistepScheduler", _solver(sampler, clip), sampler
    raise ValueError(
        f"sampler {sampler!r} is none that DDPMPipeline can run; export with --set sampler=DDIM, Ancestral, DPMpp2M "
        "(eta 0 or 1) or DPMpp3M with halved = true"
    )


def visited(rule: Times, table: Discrete, steps: int, name: str) -> tuple[dict[str, Any], Given]:
    """The spacing of theirs that visits the entries which our rule does in the model's number of steps, and these times."""
    times = rule(table, steps)
    spare = name == "DPMSolverMultistepScheduler"
    spacings: dict[str, Times] = {"trailing": Trailing(), "linspace": Linspace(spare=spare)}
    spacings = {"leading 0": Leading(0, spare), "leading 1": Leading(1, spare), **spacings}
    for kind, theirs in spacings.items():
        try:
            places = theirs(table, steps)
        except ValueError:
            continue
        if not times.final and len(times) == len(places) == steps and _near(times, places) and _follows(name, places, table):
            spacing, _, offset = kind.partition(" ")
            return {"timestep_spacing": spacing, "steps_offset": int(offset or 0)}, places
    raise ValueError(
        f"times {rule!r} at {steps} steps are no spacing of {name} (leading, trailing, linspace); "
        f"export with --set times=Trailing and a number of steps that divides {len(table)}"
    )


def _solver(sampler: Any, clip: float | None) -> dict[str, Any]:
    order = sampler.order
    if clip not in (None, 1.0):
        raise ValueError(f"Clip at {clip:g}: DPMSolverMultistepScheduler can clip at 1 alone")
    if isinstance(sampler, DPMpp3M) and (sampler.lower or not sampler.halved or sampler.eta):
        raise ValueError(
            f"sampler {sampler!r}: DPMSolverMultistepScheduler of order 3 has eta = 0, lower = false and halved = true"
        )
    return {
        "algorithm_type": "sde-dpmsolver++" if sampler.eta else "dpmsolver++",
        "solver_order": order,
        "solver_type": getattr(sampler, "rule", "midpoint"),
        "lower_order_final": False,
        "final_sigmas_type": "zero",
        # Their threshold, a quantile between 1 and sample_max_value, is 1: clipping.
        "thresholding": clip is not None,
        "sample_max_value": 1.0,
    }


def _check_end(name: str, options: Mapping[str, Any], times: Given, table: Discrete) -> None:
    """What their code does at the ends, where ours does the right thing."""
    last = round(times[-1] * len(table)) - 1
    if options.get("variance_type") in ("fixed_large", "learned_range") and last > 0:
        raise ValueError(
            f"DDPMScheduler of variance {options['variance_type']} adds noise to the picture where its last entry is not 0 "
            f"but {last}; export with --set times=Leading or Linspace"
        )
    if name == "DPMSolverMultistepScheduler" and table.alphas[-1] == 0:
        raise ValueError("DPMSolverMultistepScheduler divides by alpha, which is 0 at the end of this table; export with DDIM")


def _follows(name: str, times: Given, table: Discrete) -> bool:
    """Whether a scheduler's own steps are those of its list: DDIM's go T // n entries, whatever the next of the list is."""
    if name != "DDIMScheduler":
        return True
    stride, entries = len(table) // len(times), [round(t * len(table)) - 1 for t in times]
    ends = [*entries[1:], -1]
    return all(entry - stride == end for entry, end in zip(entries[:-1], ends, strict=False)) and entries[-1] < stride


class Sampled(Discrete):
    """The table of a continuous schedule in single precision, as their code has it: `singles` are its betas."""

    def __init__(self, kept: Tensor) -> None:
        self.singles = _singles(kept)
        steps = 1 - torch.tensor(self.singles, dtype=torch.float32)
        rounded = torch.cumprod(steps.double(), 0).float().double()
        super().__init__(1 - rounded / torch.cat([torch.ones(1, dtype=torch.float64), rounded[:-1]]))


def _singles(kept: Tensor) -> list[float]:
    """Betas in single precision whose products are `kept`, alpha^2: each makes good for the rounding of those before."""
    found, product = [], 1.0
    for target in kept.tolist():
        found.append(torch.tensor(1 - target / product, dtype=torch.float32))
        product *= float(1 - found[-1])
    return [float(beta) for beta in found]


def _sampled(alphas: Tensor, schedule: Schedule) -> Sampled:
    try:
        return Sampled(alphas**2)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{schedule!r} at {len(alphas)} entries is no chain: {error}") from error


def _unscaled(maker: type[Discrete], first: float, last: float, steps: int) -> tuple[float, float]:
    """The arguments of a maker for a table between these ends: linear ones scale them with 1000 / steps."""
    scale = 1000 / steps if maker is LinearBetas else 1.0
    return first / scale, last / scale


def _equal(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def _near(a: Given, b: Given) -> bool:
    return all(abs(x - y) < 1e-9 for x, y in zip(a, b, strict=True))
