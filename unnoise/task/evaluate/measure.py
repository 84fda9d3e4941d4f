"""The course of an evaluation: data, features, reference, what other real data reach, and then the samples, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unnoise.metric import LIMIT, Estimate, Memorization, Recognition, mean_interval
from unnoise.task import machine, ranks
from unnoise.task.evaluate import features
from unnoise.task.evaluate.board import FAMILIES, NAMES, Board, Yard
from unnoise.task.evaluate.protocol import Data, Protocol
from unnoise.task.evaluate.real import Real, Split, blocks, real, split
from unnoise.task.evaluate.reference import reference
from unnoise.task.evaluate.result import Evaluation, Number
from unnoise.task.evaluate.sources import BLOCK, Made, Source
from unnoise.task.evaluate.verdict import verdict

if TYPE_CHECKING:
    from unnoise.task.evaluate import Wish

__all__ = ["KNOWN", "evaluation", "real"]

KNOWN = (*FAMILIES, *(name for name in NAMES if name not in FAMILIES), "likelihood", "speed")
SHOWN = 64  # samples that are kept to be looked at
PAIRS = 8  # closest to the training data


def evaluation(name: str, source: Source, data: Data, known: Real, wish: Wish, say: Callable[[str], object]) -> Evaluation:
    """Samples of a source beside the data. Over several ranks the first gets the evaluation, the others an empty one."""
    if ranks.rank():
        for _ in source.blocks():
            pass
        return Evaluation(name, {}, [], {})
    parts = split(data, known, source.n)
    yard = yardstick(data, known, parts, source.n, wish, say)
    say(f"{source.n:,} samples beside {len(parts.rows):,} items of the data, compared by their {yard.features.name}")
    others = Board(yard, parts.labels, leave=["memorization"])
    for x in parts.x.split(BLOCK):
        others.update(x)
    board, shown = Board(yard, source.asked, chosen=source.chosen), torch.zeros(0)
    for x in source.blocks():
        board.update(x)
        shown = x if not len(shown) else torch.cat([shown, x])[:SHOWN] if len(shown) < SHOWN else shown
    lines = Protocol(data, parts, source, yard)
    numbers = _numbers(board, others, lines)
    if isinstance(source, Made):
        numbers |= _made(source, wish, lines)
    missing = [known.classes[k] for k in _recognition(board).missing] if "recognition" in board.metrics else []
    return Evaluation(
        name,
        numbers,
        verdict(numbers, missing, "pictures" if len(data.shape) == 3 else "items"),
        lines.about(),
        _classes(board, others, known),
        shown[:SHOWN],
        *_copies(board, known),
        _recognition(board).confusion if "recognition" in board.metrics else None,
    )


def yardstick(data: Data, known: Real, parts: Split, n: int, wish: Wish, say: Callable[[str], object]) -> Yard:
    """What n samples are measured against."""
    digest = str(data.facts().get("digest", ""))
    judge = features.classifier(known, digest, say=say) if _recognised(wish, known) else None
    by = features.choose(wish.features, known, digest, judge, say)
    key = [digest, list(data.shape), data.facts().get("transform"), len(parts.rows)]
    count = min(n, len(parts.x), len(parts.rows), LIMIT)
    return Yard(known, reference(by, blocks(data, parts.rows), key), by, judge, count, wish.metrics)


def _recognised(wish: Wish, known: Real) -> bool:
    """Whether anything that was asked for takes a classifier, which has to be trained."""
    by = {name for family in ("inception_score", "recognition") for name in (family, *FAMILIES[family][1])}
    default = wish.features is None and features.large(known)
    return wish.metrics is None or bool(by & set(wish.metrics)) or wish.features == "classifier" or default


def _numbers(board: Board, others: Board, lines: Protocol) -> dict[str, Number]:
    reached = others.estimate()
    if "memorization" in board.metrics:
        found = board.metrics["memorization"].estimate()
        unit = found["held_out_to_train"]
        reached["copies"] = found["held_out_copies"]
        reached["nearest"] = Estimate(*(end / max(unit.value, 1e-12) for end in unit))
        reached["favour"] = Estimate(0.5, 0.5, 0.5)
    return {name: Number(*ends, reached.get(name), lines.line(name)) for name, ends in board.estimate().items()}


def _made(source: Made, wish: Wish, lines: Protocol) -> dict[str, Number]:
    """What only a model has: its cost, and, where it was asked for, its likelihood."""
    model = source.model
    source.about |= {
        "steps": model.defaults.steps,
        "nfe": source.nfe,
        "sampler": repr(model.sampler),
        "times": repr(model.times),
        "guidance": [repr(rule) for rule in model.guidance],
        "precision": model.precision,
        "parameters": sum(p.numel() for p in model.denoiser.parameters()),
    }
    here = f"{', '.join(f'{key} {value}' for key, value in machine.describe().items())}, {model.precision}"
    numbers = {}
    if wish.metrics is None or "speed" in wish.metrics:
        seconds = torch.tensor(source.seconds, dtype=torch.float64)
        ends = mean_interval(seconds) if len(seconds) > 1 else (math.nan, math.nan)
        numbers["nfe"] = Number(source.nfe, source.nfe, source.nfe, None, "evaluations of the network for one sample")
        numbers["seconds"] = Number(float(seconds.mean()), *ends, None, here)
        if source.joules is not None:
            numbers["joules"] = Number(source.joules, math.nan, math.nan, None, here)
    if wish.metrics is not None and "likelihood" in wish.metrics:
        from unnoise.task.likelihood import Wish as Asked
        from unnoise.task.likelihood import measure

        told = measure(model, "val", Asked(items=min(wish.n, 1000), method="flow", seed=wish.seed))
        bits, error = told["flow"]["bits_per_dim"], told["flow"]["error"]
        by = f"exact flow, {told['items']} items of val, {lines.base}"
        numbers["bits_per_dim"] = Number(bits, bits - 1.96 * error, bits + 1.96 * error, None, by)
    return numbers


def _recognition(board: Board) -> Recognition:
    found = board.metrics["recognition"]
    assert isinstance(found, Recognition)
    return found


def _classes(board: Board, others: Board, known: Real) -> list[dict[str, Any]]:
    if "recognition" not in board.metrics:
        return []
    ours, theirs = _recognition(board), _recognition(others)
    asked, real_asked = ours.confusion.sum(1), theirs.confusion.sum(1)
    return [
        {
            "name": name,
            "expected": float(ours.shares[k]),
            "share": float(ours.found[k] / ours.found.sum()),
            "asked": int(asked[k]),
            "accuracy": float(ours.confusion[k, k] / asked[k]) if asked[k] else None,
            "real": float(theirs.confusion[k, k] / real_asked[k]) if real_asked[k] else None,
        }
        for k, name in enumerate(known.classes)
    ]


def _copies(board: Board, known: Real) -> tuple[list[tuple[Tensor, Tensor, float]], tuple[Tensor, Tensor] | None]:
    """The closest pairs, and all distances."""
    found = board.metrics.get("memorization")
    if not isinstance(found, Memorization):
        return [], None
    data = known.train["x"]
    pairs = [(x.reshape(data.shape[1:]), data[i], distance) for x, i, distance in found.closest(PAIRS)]
    return pairs, found.distances()
