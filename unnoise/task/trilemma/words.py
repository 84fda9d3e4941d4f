"""What a comparison says, in words: who leads in quality, coverage and speed, by how much, and where nobody does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.task.evaluate import Comparison, Evaluation, Number
from unnoise.task.evaluate.compare import LESS, surely
from unnoise.task.evaluate.table import ends, short
from unnoise.task.pages.charts import rate

UNLIKE = 0.5  # of the precision of real data: below that recall is no coverage


@dataclass(frozen=True)
class Corner:
    """One of the three things that are wanted of a generative model.

    Args:
        name: Of it.
        number: What it is measured by.
        one, many, all: What is said of a run that leads, of several, and of all.
        unit: Of the number, in a sentence.
    """

    name: str
    number: str
    one: str
    many: str
    all: str
    unit: str


CORNERS = (
    Corner("Quality", "frechet", "is closest to the data", "are closest to the data", "are equally close to the data",
           "Fréchet distance to the data"),
    Corner("Coverage", "recall", "covers most of the data's variety", "cover most of the data's variety",
           "cover equally much of the data's variety", "share of the data reached (recall)"),
    Corner("Speed", "seconds", "is fastest", "are fastest", "are equally fast", "samples a second"),
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A corner, with what is to be said of it.

    Args:
        corner: It.
        leaders: Positions of the runs that none is surely better than.
        big: Its number of the first leader, short.
        told: A sentence with the numbers of all runs, the best first.
    """

    corner: Corner
    leaders: list[int]
    big: str
    told: str


def findings(comparison: Comparison) -> list[Finding]:
    """A finding for each corner that every run has a number of, measured alike."""
    found = []
    for corner in CORNERS:
        numbers = [one.numbers.get(corner.number) for one in comparison.evaluations]
        if corner.number not in comparison.best or any(number is None for number in numbers):
            continue
        there = [number for number in numbers if number is not None]
        order = sorted(range(len(there)), key=lambda i: there[i].value, reverse=corner.number not in LESS)
        leaders = [i for i in order if i in comparison.best[corner.number]]
        doubted = [i for i in order if corner.number == "recall" and _unlike(comparison.evaluations[i])]
        if doubted and len(doubted) < len(order):
            rest = [i for i in order if i not in doubted]
            leaders = [i for i in rest if not any(surely("recall", there[j], there[i]) for j in rest)]
        told = _told(comparison, corner, there, order, leaders) + _doubt([comparison.evaluations[i].name for i in doubted])
        found.append(Finding(corner, leaders, _value(corner, there[leaders[0]]), told))
    return found


def headline(found: Sequence[Finding], names: Sequence[str]) -> str:
    """One sentence that says which run is better, and in what."""
    if not found:
        return f"{_listed(names)} beside each other"
    if all(len(one.leaders) == len(names) for one in found):
        return f"No difference is seen between {_listed(names)}"
    said: dict[str, list[str]] = {}  # who, and all that is said of them
    for one in found:
        alone, every = len(one.leaders) == 1, len(one.leaders) == len(names)
        who = "all" if every else _listed([names[i] for i in one.leaders])
        said.setdefault(who, []).append(one.corner.all if every else one.corner.one if alone else one.corner.many)
    if len(said) == 1 and len(found) == len(CORNERS) and len(found[0].leaders) == 1:
        return f"{next(iter(said))} is better in every way: it {_listed(next(iter(said.values())))}"
    return "; ".join(f"{who} {_listed(phrases)}" for who, phrases in said.items())


def trade(found: Sequence[Finding], comparison: Comparison) -> str:
    """What the better quality costs, where quality and speed have different leaders; else nothing."""
    by = {one.corner.name: one for one in found}
    if not {"Quality", "Speed"} <= by.keys():
        return ""
    good, quick = by["Quality"].leaders[0], by["Speed"].leaders[0]
    if good in by["Speed"].leaders or quick in by["Quality"].leaders:
        return ""
    a, b = comparison.evaluations[good], comparison.evaluations[quick]
    slower = a.numbers["seconds"].value / b.numbers["seconds"].value
    closer = b.numbers["frechet"].value / a.numbers["frechet"].value
    times = f"{a.name} takes {short(slower)} times as long for a sample as {b.name}"
    return f"{times}; its Fréchet distance is {short(closer)} times smaller."


def _unlike(one: Evaluation) -> bool:
    """Whether most samples surely lie outside of the data: such lie far apart, and anything is near one of them."""
    precision = one.numbers.get("precision")
    return precision is not None and precision.real is not None and precision.high < UNLIKE * precision.real.low


def _doubt(names: Sequence[str]) -> str:
    return f" Most samples of {_listed(names)} are unlike the data, so that recall says little there." if names else ""


def _told(comparison: Comparison, corner: Corner, numbers: Sequence[Number], order: Sequence[int], leaders: Sequence[int]) -> str:
    said = [f"{comparison.evaluations[i].name} {_value(corner, numbers[i])}{_interval(corner, numbers[i])}" for i in order]
    real = next((number.real for number in numbers if number.real is not None), None)
    beside = f"; real data reach {short(real.value)}" if real is not None else ""
    doubt = "" if len(leaders) == 1 else f" {_listed([comparison.evaluations[i].name for i in leaders])} cannot be told apart."
    return f"{', '.join(said)}{beside}.{doubt}"


def _value(corner: Corner, number: Number) -> str:
    return short(rate(number).value) if corner.number == "seconds" else short(number.value)


def _interval(corner: Corner, number: Number) -> str:
    told = ends(Number(*rate(number)) if corner.number == "seconds" else number)
    return f" ({told.replace(' .. ', ' to ')})" if told else ""


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
