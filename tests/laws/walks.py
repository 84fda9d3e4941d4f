"""Every sampler, and walks to try them on."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor

import unnoise.sampler as samplers
from unnoise.sampler import (
    DDIM,
    DPM2,
    PNDM,
    Adaptive,
    Ancestral,
    DPMpp2M,
    DPMpp2S,
    DPMpp3M,
    DPMSolver,
    Euler,
    EulerMaruyama,
    Heun,
    Langevin,
    PredictorCorrector,
    Sampler,
    Singlestep,
    UniPC,
)  # fmt: skip
from unnoise.schedule import EDM, VE, VP, Cosine, Flow, LinearBetas, Schedule, SubVP
from unnoise.times import Given, LogSNR

MEMBERS = [
    member
    for member in (getattr(samplers, name) for name in samplers.__all__)
    if inspect.isclass(member) and issubclass(member, Sampler) and not inspect.isabstract(member)
    if not {"measured", "picture"} & set(inspect.signature(member).parameters)  # those of test_inverse.py
]
VARIANTS = [
    DDIM(eta=1.0), Euler(along="t"), Euler(churn=10.0), Heun(along="t"), Heun(reach=0.5), Heun(churn=10.0), DPM2(eta=1.0),
    DPMpp2S(eta=1.0), DPMpp2M(eta=1.0), DPMpp2M(eta=0.5, rule="heun"), DPMpp2M(lower=True), DPMpp3M(eta=1.0), DPMSolver(1),
    DPMSolver(3, rule="heun"), DPMSolver(2, eta=1.0), Singlestep(1), Singlestep(2), Singlestep(3, "eps", "paper"), UniPC(1),
    UniPC(3), UniPC(3, "eps", "bh1"), PNDM("heun"), PNDM("runge_kutta"), samplers.DEIS(along="t"), samplers.DEIS(along="ratio"),
    EulerMaruyama(0.0), Ancestral("large"), Adaptive(2), PredictorCorrector(DDIM(), Langevin(rule="sigma")),
]  # fmt: skip
ALL: list[Sampler] = [*(member() for member in MEMBERS), *VARIANTS]
SCHEDULES: list[Schedule] = [VP(), SubVP(), VE(), EDM(), Cosine(), Flow(), LinearBetas(1000)]

every = pytest.mark.parametrize("sampler", ALL, ids=repr)


def noisy(schedule: Schedule, rows: int) -> Tensor:
    x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x * float(schedule(torch.ones((), dtype=torch.float64))[1])


def usual(sampler: Sampler, n: int) -> Given:
    """n times; for a sampler with steps of its own the ends alone."""
    return LogSNR()(VP(), 2 if isinstance(sampler, Adaptive) else n)
