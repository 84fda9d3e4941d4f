"""Distance to the exact end of a walk by evaluations, against three other libraries: `python -m benchmarks quality [WHAT ...]`.

WHAT is a target of `benchmarks.mixtures`, a number of evaluations, or a run's folder; all targets and seven numbers if not
given. One run, the same model, noises and evaluations for all: our tuned walks (fitted on other noises), our untuned default, and
every sampler and spacing of the others (see `benchmarks.peers`), of which the best is picked in hindsight. The error is the mean
over samples of the root mean squared distance to the fine solve from the same noise, as a share of the data's deviation.
Where a network is slow every walk of the others is tried on the first few samples, and the best of them are measured on all.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.mixtures import TARGETS
from benchmarks.peers import DEFAULT, Counted, Run, walks
from unnoise.denoiser import Denoise
from unnoise.model import load
from unnoise.sampler import Fitted, FlowAdams, Sampler, UniPC
from unnoise.task.tune import Course, Search, best, solved
from unnoise.task.tune.linear import Sample, distance
from unnoise.tensor import Rng
from unnoise.times import Auto, Given, LogSNR

NFE = (5, 6, 8, 10, 15, 20, 30)
FRESH = 10**6  # seeds from here on measure; those below fit
FINALISTS = 16  # of the others' walks, where some are sorted out on few samples


@dataclass(frozen=True)
class Case:
    """What is walked: a denoiser, samples that measure, samples to fit to and to judge fits by."""

    denoiser: Denoise
    measured: Sample
    data: Course
    judge: Sample
    search: Search
    gap: float  # between two fine solves by different methods
    few: int | None = None  # samples on which the others' walks are sorted


def closed_form(name: str, n: int = 192) -> Case:
    shape, build = TARGETS[name]
    denoiser, search = build(), Search(noises=256, held_out=512, batch=64, steps=100)

    def draw(count: int, seed: int) -> Course:
        return solved(denoiser, Rng(range(seed, seed + count)).normal(shape, "quality", dtype=torch.float64), {}, 256)

    measured = draw(n, FRESH)
    return Case(denoiser, measured, draw(search.noises, 0), draw(search.held_out, 1000), search, _gap(denoiser, measured))


def of_run(run: Path) -> Case:
    """A trained network under its own guidance; fewer samples where they are large."""
    model = load(run)
    shape = model.codec.shape(model.domain.shape)
    small = math.prod(shape) <= 256
    n, few, fine, search = (32, 8, 240, Search(96, 64, 16, 50)) if small else (128, 4, 240, Search(96, 64, 8, 24))
    denoiser = model.guided(model.guidance)

    def draw(count: int, seed: int, fine: int = fine) -> Course:
        seeds = range(seed, seed + count)
        return solved(denoiser, Rng(seeds).normal(shape, "quality"), model.draw(seeds), fine)

    measured = draw(n, FRESH, 2 * fine)
    gap = _gap(denoiser, measured[torch.arange(8)], 2 * fine)
    return Case(denoiser, measured, draw(search.noises, 0), draw(search.held_out, 1000), search, gap, few)


@torch.no_grad()
def walked(case: Case, sampler: Sampler, times: Given) -> float:
    """Of one of our walks."""
    alpha, sigma = case.denoiser.schedule(torch.tensor(times[0], dtype=torch.float64))
    start = case.measured.noise * float((alpha**2 + sigma**2).sqrt())
    return _error(case.measured, sampler(case.denoiser, start, times, case.measured.cond))


def theirs(case: Case, found: Mapping[str, Run], nfe: int) -> dict[str, float]:
    """Of every walk of the others that keeps to the number of evaluations; the rest fail by themselves and are left out."""
    if case.few is not None:
        first = _errors(case.denoiser, case.measured[torch.arange(case.few)], found, nfe)
        found = {name: found[name] for name in sorted(first, key=lambda name: first[name])[:FINALISTS]}
    return _errors(case.denoiser, case.measured, found, nfe)


@torch.no_grad()
def _errors(denoiser: Denoise, sample: Sample, found: Mapping[str, Run], nfe: int) -> dict[str, float]:
    errors = {}
    for name, walk in found.items():
        counted = Counted(denoiser, sample.cond, sample.noise.dtype)
        try:
            end = walk(counted, sample.noise, nfe)
        except Exception as error:  # whatever another library raises on a setting that it offers
            print(f"{name} at {nfe}: {error!r:.100}", file=sys.stderr)
            continue
        if counted.nfe <= nfe and end.isfinite().all():
            errors[name] = _error(sample, end)
    return errors


def measure(case: Case, budgets: tuple[int, ...]) -> dict[str, Any]:
    schedule = case.denoiser.schedule
    found, rows = walks(schedule), dict[int, dict[str, Any]]()
    for nfe in budgets:
        began = time.process_time()
        tuned = best(case.denoiser, nfe, case.data, case.judge, case.search)
        fitted = time.process_time()
        errors = theirs(case, found, nfe)
        usual = errors.get(DEFAULT) or next(iter(_errors(case.denoiser, case.measured, _only(found), nfe).values()), math.nan)
        name = min(errors, key=lambda key: errors[key])
        row = {
            "tuned": walked(case, Fitted(), tuned.walk),
            "default": walked(case, FlowAdams(), Auto()(schedule, nfe)),
            "peer": errors[name],
            "diffusers default": usual,
        }
        ratios = {f"{ours} / peer": row[ours] / row["peer"] for ours in ("tuned", "default")}
        ratios["default / diffusers default"] = row["default"] / row["diffusers default"]
        rows[nfe] = {key: _round(value) for key, value in (row | ratios).items()}
        rows[nfe] |= {"peer is": name, "peers": len(found), "best untuned": tuned.best, "kept": tuned.source}
        rows[nfe] |= {"judged tuned / best untuned": _round(tuned.error / tuned.untuned)}
        rows[nfe] |= {"seconds to tune": round(fitted - began, 1), "seconds of peers": round(time.process_time() - fitted, 1)}
        print(nfe, rows[nfe], file=sys.stderr, flush=True)
    return {"samples": len(case.measured.noise), "gap of fine solves": _round(case.gap), "by nfe": dict(sorted(rows.items()))}


def verdict(cases: Mapping[str, Any]) -> dict[str, Any]:
    """What the cells say together: of each ratio the goal, the most there is, and the cells that miss the goal."""
    cells = {f"{name} at {nfe}": (nfe, row) for name, case in cases.items() for nfe, row in case["by nfe"].items()}
    linear = {place: cell for place, cell in cells.items() if place.endswith(" linear at 20")}
    told = {
        "tuned / peer at 5-8": _goal(1.0, {place: row["tuned / peer"] for place, (nfe, row) in cells.items() if nfe < 10}),
        "tuned / peer from 10": _goal(0.75, {place: row["tuned / peer"] for place, (nfe, row) in cells.items() if nfe >= 10}),
        "default / peer": _goal(1.5, {place: row["default / peer"] for place, (_, row) in cells.items()}),
        "default / diffusers default at 20, linear": _goal(
            0.25, {place: row["default / diffusers default"] for place, (_, row) in linear.items()}
        ),
    }
    halves = sum(row["tuned / peer"] <= 0.5 for _, row in cells.values())
    mean = {
        f"{ours} / peer, geometric mean": _round(
            math.exp(sum(math.log(row[f"{ours} / peer"]) for _, row in cells.values()) / len(cells))
        )
        for ours in ("tuned", "default")
    }
    share = {"goal": 0.333, "share": _round(halves / len(cells)), "cells": len(cells)}
    return {key: value for key, value in told.items() if value} | {"tuned / peer up to 0.5": share} | mean


def _goal(goal: float, ratios: Mapping[str, float]) -> dict[str, Any]:
    if not ratios:
        return {}
    return {
        "goal": goal,
        "most": max(ratios.values()),
        "missed": {place: ratio for place, ratio in ratios.items() if ratio > goal},
    }


def _only(found: Mapping[str, Run]) -> dict[str, Run]:
    """Of the others' walks the one that diffusers takes unless told otherwise."""
    return {DEFAULT: found[DEFAULT]} if DEFAULT in found else {}


def _gap(denoiser: Denoise, sample: Sample, steps: int = 512) -> float:
    """How far another method on other times ends from the fine solve."""
    times = LogSNR()(denoiser.schedule, steps)
    alpha, sigma = denoiser.schedule(torch.ones((), dtype=torch.float64))
    with torch.no_grad():
        end = UniPC(3, lower=False)(denoiser, sample.noise * float((alpha**2 + sigma**2).sqrt()), times, sample.cond)
    return _error(sample, end)


def _error(sample: Sample, end: Tensor) -> float:
    return float(distance(end.to(sample.end), sample.end).double().mean() / sample.end.std())


def _round(value: float) -> float | None:
    return float(f"{value:.3g}") if math.isfinite(value) else None


def main(*what: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    budgets = tuple(int(word) for word in what if word.isdecimal()) or NFE
    cases = {}
    for name in [word for word in what if not word.isdecimal()] or list(TARGETS):
        print(f"## {name}", file=sys.stderr, flush=True)
        case = closed_form(name) if name in TARGETS else of_run(Path(name))
        cases[name if name in TARGETS else Path(name).name] = measure(case, budgets)
    print(json.dumps({**verdict(cases), "cases": cases}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
