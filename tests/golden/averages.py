"""Averages of weights against EDM2: power-function averages, and others made of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unnoise.train import EMA, Power
from unnoise.train.power import coefficients, exponent, overlap, width

from .harness import Case, Result


def edm2_phema(case: Case) -> dict[str, Result]:
    """The cases are told apart by the roles of their outputs."""
    given, roles = case.inputs, set(case.outputs)
    made = {"exp": lengths, "profile": profile, "corr": correlation, "beta": decays, "coefficients": solution, "ema": track}
    return next(build for role, build in made.items() if role in roles)(case, given)


def doubles(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


def lengths(case: Case, given: dict[str, Tensor]) -> dict[str, Result]:
    gammas = [exponent(float(s)) for s in given["std"]]
    return {"exp": doubles(gammas), "back": doubles(map(width, gammas))}


def profile(case: Case, given: dict[str, Tensor]) -> dict[str, Result]:
    tau = torch.arange(case.params["len"], dtype=torch.float64)
    columns = []
    for end, length in zip(case.params["ofs"], case.params["std"], strict=True):
        column = torch.where(tau <= end, (tau / end) ** exponent(length), 0)
        columns.append(column / column.sum())
    return {"profile": torch.stack(columns, 1)}


def correlation(case: Case, given: dict[str, Tensor]) -> dict[str, Result]:
    gammas = {side: doubles(exponent(float(s)) for s in given[f"{side}_std"]) for side in "ab"}
    return {"corr": overlap(given["a_ofs"], gammas["a"], given["b_ofs"], gammas["b"])}


def decays(case: Case, given: dict[str, Tensor]) -> dict[str, Result]:
    average = Power(nn.Linear(1, 1), case.params["std"])
    return {"beta": doubles(average.decay(t / case.params["t_delta"]) for t in given["t_next"].tolist())}


def solution(case: Case, given: dict[str, Tensor]) -> dict[str, Result]:
    known = list(zip(given["in_ofs"].tolist(), given["in_std"].tolist(), strict=True))
    end = int(given["out_ofs"])
    return {"coefficients": torch.stack([coefficients(known, end, float(s)) for s in given["out_std"]], 1)}


def track(case: Case, given: dict[str, Tensor]) -> dict[str, Result]:
    """The first row of `net` is there before training; a step is a batch."""
    net, batch = given["net"], case.params["batch_size"]
    model = nn.Linear(net.shape[2], net.shape[1], bias=False).double()
    model.weight.data = net[0].clone()
    plain = case.params["traditional"]
    average = EMA(model, 2 ** (-batch / plain["halflife_nimg"]), plain["rampup_ratio"])
    powers, ema, traditional = [Power(model, s) for s in case.params["stds"]], [], []
    for step, weight in enumerate(net[1:], 1):
        model.weight.data = weight.clone()
        for one in (average, *powers):
            one.update(model, step)
        ema.append(torch.stack([one.weights["weight"].clone() for one in powers]))
        traditional.append(average.module.weight.detach().clone())
    return {"ema": torch.stack(ema), "traditional": torch.stack(traditional)}
