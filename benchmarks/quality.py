"""Distance to the exact end of a walk by evaluations, against three other libraries: `python -m benchmarks quality [WHAT ...]`.

WHAT is a target of `benchmarks.mixtures`, a number of evaluations, or a run's folder; all targets and seven numbers if not
given. One run, the same model, noises and evaluations for all: our tuned walks (fitted on other noises), our untuned default, and
every sampler and spacing of the others (see `benchmarks.peers`), of which the best is picked in hindsight. The error is the mean
over samples of the root mean squared distance to the fine solve from the same noise, as a share of the data's deviation.
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
from unnoise.task.tune import Search, best, solved
from unnoise.task.tune.linear import Sample, distance
from unnoise.tensor import Rng
from unnoise.times import Auto, Given, LogSNR

NFE = (5, 6, 8, 10, 15, 20, 30)
FRESH = 10**6  # seeds from here on measure; those below fit
GOALS = {"tuned / peer at 5-8": 1.0, "tuned / peer from 10": 0.75, "a third of tuned / peer": 0.5, "default / peer": 1.5}


@dataclass(frozen=True)
class Case:
    """What is walked: a denoiser, samples that measure, samples to fit to and to judge fits by."""

    denoiser: Denoise
    measured: Sample
    data: Sample
    judge: Sample
    search: Search
    gap: float  # between two fine solves by different methods


def closed_form(name: str, n: int = 192) -> Case:
    shape, build = TARGETS[name]
    denoiser, search = build(), Search(noises=512, held_out=256, batch=64, steps=160)

    def draw(count: int, seed: int) -> Sample:
        return solved(denoiser, Rng(range(seed, seed + count)).normal(shape, "quality", dtype=torch.float64), {}, 256)

    measured = draw(n, FRESH)
    return Case(denoiser, measured, draw(512, 0), draw(256, 1000), search, _gap(denoiser, measured))


def of_run(run: Path) -> Case:
    """A trained network under its own guidance; fewer samples where they are large."""
    model = load(run)
    shape = model.codec.shape(model.domain.shape)
    small = math.prod(shape) <= 256
    n, search = (32, Search(noises=128, held_out=64, batch=32, steps=120)) if small else (6, Search(64, 24, 8, 60))
    denoiser = model.guided(model.guidance)

    def draw(count: int, seed: int) -> Sample:
        seeds = range(seed, seed + count)
        return solved(denoiser, Rng(seeds).normal(shape, "quality"), model.draw(seeds), 100)

    measured = draw(n, FRESH)
    return Case(denoiser, measured, draw(search.noises, 0), draw(search.held_out, 1000), search, _gap(denoiser, measured, 100))


@torch.no_grad()
def walked(case: Case, sampler: Sampler, times: Given) -> float:
    """Of one of our walks."""
    alpha, sigma = case.denoiser.schedule(torch.tensor(times[0], dtype=torch.float64))
    start = case.measured.noise * float((alpha**2 + sigma**2).sqrt())
    return _error(case.measured, sampler(case.denoiser, start, times, case.measured.cond))


@torch.no_grad()
def theirs(case: Case, found: Mapping[str, Run], nfe: int) -> dict[str, float]:
    """Of every walk of the others that keeps to the number of evaluations; the rest fail by themselves and are left out."""
    errors = {}
    for name, walk in found.items():
        counted = Counted(case.denoiser, case.measured.cond)
        try:
            end = walk(counted, case.measured.noise, nfe)
        except Exception as error:  # whatever another library raises on a setting that it offers
            print(f"{name} at {nfe}: {error!r:.100}", file=sys.stderr)
            continue
        if counted.nfe <= nfe and end.isfinite().all():
            errors[name] = _error(case.measured, end)
    return errors


def measure(case: Case, budgets: tuple[int, ...]) -> dict[str, Any]:
    schedule = case.denoiser.schedule
    found, rows = walks(schedule), {}
    for nfe in budgets:
        began = time.process_time()
        tuned = best(case.denoiser, nfe, case.data, case.judge, case.search)
        fitted = time.process_time()
        errors = theirs(case, found, nfe)
        name = min(errors, key=lambda key: errors[key])
        row = {
            "tuned": walked(case, Fitted(), tuned.walk),
            "default": walked(case, FlowAdams(), Auto()(schedule, nfe)),
            "peer": errors[name],
            "diffusers default": errors.get(DEFAULT, math.nan),
        }
        ratios = {f"{ours} / peer": row[ours] / row["peer"] for ours in ("tuned", "default")}
        ratios["default / diffusers default"] = row["default"] / row["diffusers default"]
        rows[nfe] = {key: _round(value) for key, value in (row | ratios).items()}
        rows[nfe] |= {"peer is": name, "peers": len(errors), "tuned from": tuned.best, "kept": tuned.source}
        rows[nfe] |= {"seconds to tune": round(fitted - began, 1), "seconds of peers": round(time.process_time() - fitted, 1)}
        print(nfe, rows[nfe], file=sys.stderr, flush=True)
    return {"samples": len(case.measured.noise), "gap of fine solves": _round(case.gap), "by nfe": rows}


def verdict(cases: Mapping[str, Any]) -> dict[str, Any]:
    """The goals over all cells."""
    cells = [(nfe, row) for case in cases.values() for nfe, row in case["by nfe"].items()]
    tuned = {
        key: [row["tuned / peer"] for nfe, row in cells if (nfe < 10) == low] for key, low in (("low", True), ("high", False))
    }
    every = sorted(tuned["low"] + tuned["high"])
    return {
        "goals": GOALS,
        "cells": len(cells),
        "tuned / peer at 5-8, most": max(tuned["low"], default=None),
        "tuned / peer from 10, most": max(tuned["high"], default=None),
        "share of tuned / peer up to 0.5": _round(sum(ratio <= 0.5 for ratio in every) / len(every)),
        "default / peer, most": max(row["default / peer"] for _, row in cells),
    }


def _gap(denoiser: Denoise, sample: Sample, steps: int = 256) -> float:
    """How far another method on other times ends from the fine solve."""
    times = LogSNR()(denoiser.schedule, 2 * steps)
    alpha, sigma = denoiser.schedule(torch.ones((), dtype=torch.float64))
    with torch.no_grad():
        end = UniPC(3, lower=False)(denoiser, sample.noise * float((alpha**2 + sigma**2).sqrt()), times, sample.cond)
    return _error(sample, end)


def _error(sample: Sample, end: Tensor) -> float:
    return float(distance(end, sample.end).double().mean() / sample.end.std())


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
