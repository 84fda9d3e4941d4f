"""One Brownian path a sample: the noise of a stochastic walk, the same at any number of steps.

The path W runs on the clock SNR = (alpha / sigma)^2. On it a step of the ancestral sampler, written for x alpha / sigma^2, adds
exactly W_s - W_t: the noises of two half steps sum to the noise of the whole, so a picture keeps its composition when the number
of steps changes. Knots stand at fixed places of lam = log(alpha / sigma), one a unit and dyadic between; each is keyed by its
place alone. A walk goes one way, hence knots are found in order and no more is kept than where it stands and the few knots ahead.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.schedule import Schedule
from unnoise.tensor import Rng

FIRST = -6.0  # below this lam there are no knots: e^-12 of the clock, nothing of the picture is decided there
FINEST = 20  # halvings of a unit of lam: what a 32-bit key can tell apart
LEAF = 2.0  # knots are laid until their distance is at most this many steps
LARGE = 2**16  # numbers in a sample: larger ones have no knots between whole lam, so that few states are kept
CHUNK = 2**17  # numbers drawn at once, ahead of need, where states are small and each call costs more than its numbers


class Leg(NamedTuple):
    """W / exp(lam) at the next place: a sum of a draw, of what is known here and of the knot ahead. Without key: that knot."""

    key: tuple[str, int] | None
    draw: float = 0.0
    here: float = 0.0
    ahead: float = 0.0
    knot: bool = False  # the place becomes a knot ahead; else it becomes here


class Route:
    """The places of a path in the order in which they are found: numbers only."""

    def __init__(self, lam: float) -> None:
        self.here = lam
        self.ahead: list[float] = []
        self.spent = math.nan  # the knot whose draw has served a place beside it

    def to(self, lam: float, h: float) -> list[Leg]:
        """The legs to lam, for steps of length h: pass the knots before it, lay those that are missing, end between two."""
        legs: list[Leg] = []
        while self.here != lam:
            if not self.ahead:
                legs.append(self._onward(FIRST if self.here < FIRST else math.floor(self.here) + 1.0))
            elif self.ahead[-1] <= lam:
                self.here = self.ahead.pop()
                legs.append(Leg(None))
            else:
                middle, width = _middle(self.here, self.ahead[-1])
                knot = width > LEAF * h
                legs.append(self._between(middle if knot else lam, middle, knot))
        return legs

    def _onward(self, knot: float) -> Leg:
        """Past all that is known."""
        self.ahead.append(knot)
        return Leg(("knot", _key(knot)), (-math.expm1(2 * (self.here - knot))) ** 0.5, math.exp(self.here - knot), 0.0, True)

    def _between(self, lam: float, middle: float, knot: bool) -> Leg:
        """The Brownian bridge from here to the knot ahead.

        A place that is no knot takes the draw of the knot in the middle, so that finer walks say nearly the same.
        """
        past, end = self.here, self.ahead[-1]
        key = ("leaf", _key(lam)) if middle in (self.spent, end) else ("knot", _key(middle))
        before, after = -math.expm1(2 * (past - lam)), math.expm1(2 * (end - lam))  # clock distances over the clock at lam
        whole = before + after
        if knot:
            self.ahead.append(lam)
        else:
            self.here, self.spent = lam, middle
        draw = (before * after / whole) ** 0.5
        return Leg(key, draw, math.exp(past - lam) * after / whole, math.exp(end - lam) * before / whole, knot)


class Brownian:
    """Noise N(0, I) for the interval from t to s < t: the path's increment over its standard deviation.

    Consecutive intervals cost one to two normal draws each. Noise in place (s = t) is drawn afresh each time. A walk that goes up
    (s > t), or back to an interval that it left, begins another path.

    Args:
        rng: One stream a sample.
        schedule: Tells lam at a time.
        times: Those that will come, as far as they are known: small states are then drawn for several of them at once.
    """

    def __init__(self, rng: Rng, schedule: Schedule, times: Sequence[float] = ()) -> None:
        self.rng, self.schedule = rng, schedule
        lams = schedule.log_snr(torch.tensor(list(times), dtype=torch.float64)) / 2
        self.lams = dict(zip(times, lams.tolist(), strict=True))
        self.stops = set(times)  # where steps end: no later interval begins before one
        self.paths = self.stirs = 0
        self.start: tuple[float, Tensor | None]  # where the last interval began
        self.value: Tensor | None  # W / exp(lam) where the route is; None: 0
        self.keyed: Tensor | None
        self._begin(math.nan)

    def __call__(self, like: Tensor, t: float, s: float) -> Tensor:
        if self.rng.device != like.device:
            self.rng = self.rng.to(like.device)
        if s >= t:
            if s > t:
                self._begin(math.nan)
            self.stirs += 1
            return self.rng.normal(like.shape[1:], "stir", self.stirs, dtype=like.dtype)
        lam_t, lam_s = self._lam(t), self._lam(s)
        h = lam_s - lam_t if like[0].numel() < LARGE else math.inf
        if lam_s == math.inf:  # the clock's end: what is added there has no part in what came before
            return self.rng.normal(like.shape[1:], f"end {self.paths}", dtype=like.dtype)
        if lam_t != self.start[0]:
            if not lam_t >= self.route.here:
                self._begin(lam_t)
            self._follow(like, lam_t, h)
            self.start = lam_t, self.value
        elif lam_s < self.route.here:
            self._begin(lam_t)
        self._follow(like, lam_s, h)
        before, now = self.start[1], self.value
        assert now is not None
        spread = (-math.expm1(2 * (lam_t - lam_s))) ** -0.5
        if s in self.stops:  # a state less to keep
            self.start = lam_s, now
        return now * spread if before is None else (now * spread).add_(before, alpha=-math.exp(lam_t - lam_s) * spread)

    def _lam(self, t: float) -> float:
        if t not in self.lams:
            self.lams[t] = float(self.schedule.log_snr(torch.tensor(t, dtype=torch.float64))) / 2
        return self.lams[t]

    def _begin(self, lam: float) -> None:
        """Another path, W = 0 at lam."""
        self.paths += 1
        self.keyed = None
        self.route = Route(lam)
        self.value = None
        self.ahead: list[Tensor] = []
        self.start = (lam, None)
        self.drawn: dict[tuple[str, int], Tensor] = {}

    def _follow(self, like: Tensor, lam: float, h: float) -> None:
        legs = self.route.to(lam, h)
        for k, leg in enumerate(legs):
            if leg.key is None:
                self.value = self.ahead.pop()
                continue
            if leg.key not in self.drawn:
                self._draw(like, [later.key for later in legs[k:] if later.key], lam)
            found = self.drawn.pop(leg.key) * leg.draw
            if self.value is not None:
                found.add_(self.value, alpha=leg.here)
            if leg.ahead:
                found.add_(self.ahead[-1], alpha=leg.ahead)
            if leg.knot:
                self.ahead.append(found)
            else:
                self.value = found

    def _draw(self, like: Tensor, keys: list[tuple[str, int]], lam: float) -> None:
        """Draw for the first keys, and for those of later times, as many as make a chunk; at least one."""
        most = max(1, CHUNK // like.numel())
        if len(keys) < most:
            route = copy.deepcopy(self.route)
            for later in (other for other in self.lams.values() if lam < other < math.inf):
                keys += [leg.key for leg in route.to(later, later - route.here) if leg.key]
                if len(keys) >= most:
                    break
        if self.keyed is None:
            low, high = self.rng.at(self.paths).key
            self.keyed = low | high << 32
        keys = [key for key in keys if key[0] == keys[0][0]][:most]
        index = torch.tensor([number for _, number in keys]).repeat_interleave(len(like))
        rng = Rng(self.keyed.repeat(len(keys)), index, like.device)
        if self.rng.sign is not None:
            rng = rng.mirrored(self.rng.sign.repeat(len(keys)) < 0)
        draws = rng.normal(like.shape[1:], f"brownian {keys[0][0]}", dtype=like.dtype)
        if len(self.drawn) > most:  # guesses about times that did not come
            self.drawn.clear()
        self.drawn.update(zip(keys, draws.split(len(like)), strict=True))


def _middle(here: float, end: float) -> tuple[float, float]:
    """Of the dyadic intervals that end at a knot, the widest whose middle lies past here: its middle and its width.

    Where there is none, the knot itself and 0.
    """
    width = 1.0 if end > FIRST else 0.0
    while width and (end % width or end - width / 2 <= here):
        width = width / 2 if width > 2.0**-FINEST else 0.0
    return end - width / 2, width


def _key(lam: float) -> int:
    """A 32-bit name of a place."""
    return round(lam * 2.0**FINEST)
