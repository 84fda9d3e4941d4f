"""Laws of every rule of times: strictly falling, on the table where it speaks of one, as published where it is."""

from __future__ import annotations

import inspect
import itertools
import math

import pytest
import torch

import unnoise.times as rules
from unnoise.schedule import EDM, VE, VP, Cosine, CosineBetas, Flow, LinearBetas, Schedule, Sigmas
from unnoise.times import (
    Beta,
    Final,
    Given,
    Karras,
    Leading,
    Linspace,
    Listed,
    LogSNR,
    One,
    PolyExponential,
    Quadratic,
    Sections,
    Spaced,
    Strided,
    Tabled,
    Times,
    Trailing,
    Uniform,
)  # fmt: skip

TABLE = LinearBetas(1000)
SPACED = [Uniform(), LogSNR(), Karras(), Quadratic(), PolyExponential(2.0), Beta(), Beta(2.0, 1.0)]
TABLED = [Leading(), Leading(1), Leading(spare=True), Trailing(), Linspace(), Linspace(False), Linspace(spare=True), Sections()]
COUNTS = (1, 2, 3, 10, 50, 999, 1000)


def entries(rule: Tabled, n: int, schedule: Schedule = TABLE) -> list[float]:
    return [round(t * 1000 - 1, 9) for t in rule(schedule, n)]


@pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Cosine(), Flow(), Flow(3.0), TABLE], ids=repr)
@pytest.mark.parametrize("rule", SPACED, ids=repr)
def test_spaced(rule: Spaced, schedule: Schedule) -> None:
    for n in COUNTS:
        times = rule(schedule, n)
        assert len(times) == n and times[0] == 1
        assert n == 1 or times[-1] == schedule.t_min
        assert all(a > b for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("rule", TABLED, ids=repr)
def test_tabled(rule: Tabled) -> None:
    for n in COUNTS:
        if isinstance(rule, Leading) and n >= 999 and (rule.offset or rule.spare):
            continue  # as published, an offset or a spare place does not fit on all of the table
        found = entries(rule, n)
        assert len(found) <= n and all(a > b for a, b in itertools.pairwise(found))
        assert found[-1] >= 0 and found[0] <= 999
        assert isinstance(rule, Linspace) or all(entry == round(entry) for entry in found)
        again = [t * 1000 - 1 for t in rule(Sigmas(torch.linspace(0.01, 50, 1000, dtype=torch.float64)), n)]
        assert again == pytest.approx(found, abs=1e-9)


def test_every_rule_is_tested() -> None:
    """But those that fit themselves to a schedule, or begin lower down, which have tests of their own."""
    members = [getattr(rules, name) for name in rules.__all__ if name not in ("Auto", "Below", "Fitted")]
    concrete = {member for member in members if issubclass(member, Times) and not inspect.isabstract(member)}
    assert concrete == {type(rule) for rule in (*SPACED, *TABLED)} | {Final, Listed, One, Strided}


def test_published_lists() -> None:
    assert entries(Leading(), 4) == [750, 500, 250, 0]
    assert entries(Leading(1), 4) == [751, 501, 251, 1]
    assert entries(Leading(spare=True), 4) == [800, 600, 400, 200]
    assert entries(Trailing(), 4) == [999, 749, 499, 249]
    assert entries(Trailing(), 7) == [999, 856, 713, 570, 428, 285, 142]
    assert entries(Linspace(), 4) == [999, 666, 333, 0]
    assert entries(Linspace(False), 9)[1] == 874.125
    assert entries(Linspace(spare=True), 3) == [999, 666, 333]
    assert entries(Strided(), 25) == list(range(960, -1, -40))
    assert entries(Sections(), 4) == [999, 666, 333, 0]
    assert Sections((2, 3)).entries(10, 5) == [0, 4, 5, 7, 9]
    assert entries(Listed((5, 900, 3)), 3) == [900, 5, 3]


def test_karras_and_its_kin() -> None:
    def sigmas(rule: Times) -> list[float]:
        return VE(0.03, 14.6)(torch.tensor(list(rule(VE(0.03, 14.6), 5)), dtype=torch.float64))[1].tolist()

    low, high = 0.03 ** (1 / 7), 14.6 ** (1 / 7)
    assert sigmas(Karras()) == pytest.approx([(high + k / 4 * (low - high)) ** 7 for k in range(5)])
    assert sigmas(LogSNR()) == pytest.approx([14.6 * (0.03 / 14.6) ** (k / 4) for k in range(5)])
    powers = [math.exp((1 - k / 4) ** 2 * math.log(14.6 / 0.03)) * 0.03 for k in range(5)]
    assert sigmas(PolyExponential(2.0)) == pytest.approx(powers)
    assert list(Quadratic()(VP(t_min=0.01), 3)) == pytest.approx([1, 0.55**2, 0.01])


def test_beta_follows_its_quantiles() -> None:
    stats = pytest.importorskip("scipy.stats")
    for a, b in ((0.6, 0.6), (2.0, 1.0), (0.5, 3.0)):
        expected = stats.beta.ppf(torch.linspace(1, 0, 12)[1:-1].double().numpy(), a, b)
        found = torch.tensor(Beta(a, b)(VP(t_min=0.0), 12).values[1:-1])
        assert found.numpy() == pytest.approx(expected, abs=1e-4)


def test_final() -> None:
    ends = Final(Leading(1))(TABLE, 3)
    assert ends.final and ends[-1] == TABLE.t_min and len(ends) == 4
    assert Final(Leading(1), data=True)(TABLE, 3).values == (*ends.values[:-1], 0.0)
    merged = Final(Leading())(TABLE, 3)
    assert merged.final and len(merged) == 3
    assert not Leading()(TABLE, 3).final


def test_merged() -> None:
    """Rounding that meets itself leaves fewer times, never one twice."""
    short = CosineBetas(10)
    assert [round(t * 10 - 1) for t in Listed((3, 3, 1))(short, 3)] == [3, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda: Uniform()(VP(), 0), lambda: Trailing()(VP(), 10), lambda: Trailing()(TABLE, 1001), lambda: Trailing()(TABLE, 0),
        lambda: Strided()(TABLE, 999), lambda: Sections((2, 2))(TABLE, 5), lambda: Sections((900, 1))(TABLE, 901),
        lambda: Listed((1, 2))(TABLE, 3), lambda: Listed((1000,))(TABLE, 1), lambda: Leading(999)(TABLE, 2),
        lambda: Given(()), lambda: Given((0.5, 0.5)), lambda: Given((1.5, 0.5)),
    ],
)  # fmt: skip
def test_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"\d|needs"):
        call()  # type: ignore[operator]
