"""One Brownian path a sample: the noise of a stochastic walk, the same at any number of steps.

The path W runs on the clock SNR = (alpha / sigma)^2. On it a step of the ancestral sampler, written for x alpha / sigma^2, adds
exactly W_s - W_t: the noises of two half steps sum to the noise of the whole, so a picture keeps its composition when the number
of steps changes. Knots stand at fixed places of lam = log(alpha / sigma), one a unit and dyadic between; each is keyed by its
place alone. A walk goes one way, hence knots are found in order and two states are kept beside the few knots still ahead.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from unnoise.tensor import Rng

FIRST = -6.0  # below this lam there are no knots: e^-12 of the clock, nothing of the picture is decided there
FINEST = 20  # halvings of a unit of lam: what a 32-bit key can tell apart
LEAF = 2.0  # knots are laid until their distance is at most this many steps

Place = tuple[float, Tensor | None]  # lam, and W / exp(lam) there (None: W = 0)


class Brownian:
    """Noise N(0, I) for the interval from t to s < t: the path's increment over its standard deviation.

    Consecutive intervals cost one to two normal draws each. Noise in place (s = t) is drawn afresh each time. A walk that goes up
    (s > t), or back to an interval that it left, begins another path.

    Args:
        rng: One stream a sample.
        lam: log(alpha / sigma) at a time.
    """

    def __init__(self, rng: Rng, lam: Callable[[float], float]) -> None:
        self.rng, self.lam = rng, lam
        self.paths = self.stirs = 0
        self._begin(math.nan)

    def __call__(self, like: Tensor, t: float, s: float) -> Tensor:
        if self.rng.device != like.device:
            self.rng = self.rng.to(like.device)
        if s >= t:
            if s > t:
                self._begin(math.nan)
            self.stirs += 1
            return self._draw(like, "fresh", self.stirs)
        lam_t, lam_s = self.lam(t), self.lam(s)
        if lam_t != self.start[0]:
            if not lam_t >= self.here[0]:
                self._begin(lam_t)
            self._advance(like, lam_t, lam_s - lam_t)
            self.start = self.here
        if lam_s < self.here[0]:
            self._begin(lam_t)
        self._advance(like, lam_s, lam_s - lam_t)
        (_, before), (_, now) = self.start, self.here
        assert now is not None
        increment = now if before is None else now.sub(before, alpha=math.exp(lam_t - lam_s))
        return increment * (-math.expm1(2 * (lam_t - lam_s))) ** -0.5

    def _begin(self, lam: float) -> None:
        self.paths += 1
        self.start: Place = (lam, None)
        self.here: Place = (lam, None)
        self.ahead: list[Place] = []
        self.spent = math.nan  # the knot whose draw has served a place beside it

    def _advance(self, like: Tensor, lam: float, h: float) -> None:
        """Go on to lam: pass what knots lie before it, lay what knots are missing, end between two of them."""
        while self.here[0] != lam:
            if not self.ahead:
                knot = FIRST if self.here[0] < FIRST else math.floor(self.here[0]) + 1.0
                self.ahead.append((knot, self._onward(like, knot)))
            end, value = self.ahead[-1]
            if end <= lam:
                self.here = self.ahead.pop()
                continue
            middle, width = _middle(self.here[0], end)
            if width > LEAF * h:
                self.ahead.append((middle, self._between(like, middle, middle)))
            else:  # the place takes the draw of the knot in the middle, so that finer walks say nearly the same
                self.here = (lam, self._between(like, lam, middle))
                self.spent = middle

    def _onward(self, like: Tensor, lam: float) -> Tensor:
        """W at a place past all that is known."""
        past, value = self.here
        onward = self._draw(like, "knot", _key(lam)).mul_((-math.expm1(2 * (past - lam))) ** 0.5)
        return onward if value is None else onward.add_(value, alpha=math.exp(past - lam))

    def _between(self, like: Tensor, lam: float, knot: float) -> Tensor:
        """W at a place between here and the next knot, by the Brownian bridge, with the draw of a knot if it is unspent."""
        drawn = self._draw(like, "leaf", _key(lam)) if knot == self.spent else self._draw(like, "knot", _key(knot))
        (past, value), (end, known) = self.here, self.ahead[-1]
        before, after = -math.expm1(2 * (past - lam)), math.expm1(2 * (end - lam))  # clock distances over the clock at lam
        bridge = drawn.mul_((before * after / (before + after)) ** 0.5)
        if known is not None:
            bridge.add_(known, alpha=math.exp(end - lam) * before / (before + after))
        return bridge if value is None else bridge.add_(value, alpha=math.exp(past - lam) * after / (before + after))

    def _draw(self, like: Tensor, purpose: str, key: int) -> Tensor:
        return self.rng.normal(like.shape[1:], f"{purpose} {self.paths}", key, dtype=like.dtype)


def _middle(here: float, end: float) -> tuple[float, float]:
    """Of the dyadic intervals that end at a knot, the widest whose middle lies past here: its middle and its width."""
    width = 1.0 if end > FIRST else 0.0
    while width and (end % width or end - width / 2 <= here):
        width = width / 2 if width > 2.0**-FINEST else 0.0
    return end - width / 2, width


def _key(lam: float) -> int:
    """A 32-bit name of a place."""
    return round(lam * 2.0**FINEST)
