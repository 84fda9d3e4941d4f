"""Tensors and randomness: the two things every other room needs.

Every draw of this library is a pure function of (seed, index, purpose, counter): a counter-based generator has no state to
save, so a sample does not depend on its batch and a resumed run neither repeats nor skips a number.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Cond = Mapping[str, Tensor]
Seeds = int | Sequence[int] | Tensor

WORD = 0xFFFFFFFF  # 32 bits
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def expand(coefficient: Tensor, x: Tensor) -> Tensor:
    """A coefficient per sample, (B,), shaped to broadcast over `x`, (B, ...), whatever its number of dimensions."""
    return coefficient.reshape(coefficient.shape + (1,) * (x.ndim - coefficient.ndim))


def masked_mean(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of `x`, (B, ...), over all but the first dimension, (B,); where `mask` is given, over the places where it is 1.

    A sample whose mask is empty has mean 0.
    """
    if mask is None:
        return x.flatten(1).mean(1)
    mask = mask.expand_as(x).to(x.dtype).flatten(1)
    return (x.flatten(1) * mask).sum(1) / mask.sum(1).clamp(min=1)


class Rng:
    """B independent streams of random numbers that are functions, not machines: the same arguments give the same numbers.

    Philox4x32-10 in 64-bit integer tensor operations: stream b is keyed by `seeds[b]` (64 bits) and the counter's words are
    (block, purpose, counter, `index[b]`). The integers are the same on every device.

    Args:
        seeds: One seed for each stream, or one for all of them.
        index: Tells streams of equal seed apart (in training: the position in the global batch). Default 0.
        device: Where numbers are drawn.

    Reference: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011, section 4.3.
    """

    def __init__(self, seeds: Seeds, index: Seeds | None = None, device: torch.device | str = "cpu") -> None:
        low, high = _split(seeds)
        words = _split(0 if index is None else index)[0]
        low, high, words = torch.broadcast_tensors(low, high, words)
        self.key = low.to(device, non_blocking=True), high.to(device, non_blocking=True)  # each (B,)
        self.index = words.to(device, non_blocking=True)
        self.sign: Tensor | None = None  # (B,) of 1 and -1; None: all 1
        self._host: Callable[[], Rng] = lambda: Rng._with((low, high), words, None)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def device(self) -> torch.device:
        return self.index.device

    @property
    def host(self) -> Rng:
        """The same streams, drawn on the CPU from keys that never left it: nothing waits for a device."""
        return self if self.device.type == "cpu" else self._host()

    def at(self, counter: int) -> Rng:
        """The same streams at another moment (a training step, an interval): independent of these, and of every other moment."""
        words = self._words(1, "at", counter)
        return self._with((words[0][:, 0], words[1][:, 0]), self.index, self.sign, lambda: self.host.at(counter))

    def mirrored(self, rows: Sequence[bool] | Tensor) -> Rng:
        """The same streams, but in these rows with the opposite of each normal draw; (B,).

        A stream and its mirror image are of one law, and where a result is nearly linear in its noise the two err to opposite
        sides: the mean of such pairs is nearer to the expectation than that of as many independent draws (antithetic variates).

        Reference: Hammersley & Morton, A New Monte Carlo Technique: Antithetic Variates, 1956.
        """
        turned = 1 - 2 * torch.as_tensor(rows, device=self.device).to(torch.int64)
        turned = turned if self.sign is None else turned * self.sign
        return self._with(self.key, self.index, turned, lambda: self.host.mirrored(rows))

    def __getitem__(self, rows: slice) -> Rng:
        """The streams of some rows."""
        sign = None if self.sign is None else self.sign[rows]
        return self._with((self.key[0][rows], self.key[1][rows]), self.index[rows], sign, lambda: self.host[rows])

    def to(self, device: torch.device | str) -> Rng:
        """The same streams, drawn on another device."""
        low, high, index = (part.to(device, non_blocking=True) for part in (*self.key, self.index))
        sign = None if self.sign is None else self.sign.to(device, non_blocking=True)
        return self._with((low, high), index, sign, lambda: self.host)

    def bits(self, n: int, purpose: str, counter: int = 0) -> Tensor:
        """Integers uniform in [0, 2^32), (B, n)."""
        return torch.cat(self._words(-(-n // 4), purpose, counter), 1)[:, :n]

    def uniform(self, shape: Sequence[int], purpose: str, counter: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform in the open interval (0, 1), (B, *shape)."""
        bits = 32 if dtype == torch.float64 else 23  # what the type holds exactly, so that neither 0 nor 1 comes out
        draws = self.bits(math.prod(shape), purpose, counter) >> (32 - bits)
        draws = (draws.to(torch.float64 if bits == 32 else torch.float32) + 0.5) * 2.0**-bits
        return draws.reshape(len(self), *shape).to(dtype)

    def normal(self, shape: Sequence[int], purpose: str, counter: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal, (B, *shape), by Box and Muller: sqrt(-2 log u) (cos, sin)(2 pi v)."""
        n, work = math.prod(shape), torch.float64 if dtype == torch.float64 else torch.float32
        words = [word.to(work) for word in self._words(-(-n // 4), purpose, counter)]
        draws = []
        for u, v in (words[:2], words[2:]):
            radius = u.add_(0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
            angle = v.mul_(2 * math.pi * 2.0**-32)
            draws += [radius * angle.cos(), radius * angle.sin()]
        drawn = torch.cat(draws, 1)[:, :n].reshape(len(self), *shape).to(dtype)
        return drawn if self.sign is None else drawn.mul_(expand(self.sign.to(dtype), drawn))

    def integers(self, high: int, shape: Sequence[int], purpose: str, counter: int = 0) -> Tensor:
        """Integers uniform in [0, high), (B, *shape); high at most 2^31 (the bias is below high / 2^32)."""
        return ((self.bits(math.prod(shape), purpose, counter) * high) >> 32).reshape(len(self), *shape)

    @staticmethod
    def _with(key: tuple[Tensor, Tensor], index: Tensor, sign: Tensor | None, host: Callable[[], Rng] | None = None) -> Rng:
        rng = object.__new__(Rng)
        rng.key, rng.index, rng.sign = key, index, sign
        if host and rng.device.type != "cpu":  # one on the CPU is its own, and keeps nothing of where it came from
            rng._host = host
        return rng

    def _words(self, blocks: int, purpose: str, counter: int) -> list[Tensor]:
        """The four words of each block, each (B, blocks)."""
        block = torch.arange(blocks, device=self.device).expand(len(self), blocks)
        name = torch.full_like(block, zlib.crc32(purpose.encode()))
        moment = torch.full_like(block, counter & WORD)
        return _philox([block, name, moment, self.index[:, None].expand_as(block)], self.key)


def permutation(n: int, seed: int, purpose: str, counter: int = 0) -> Tensor:
    """A shuffle of 0 .. n-1, (n,), that is a function of its arguments."""
    bits = Rng(seed).bits(2 * n, purpose, counter)[0]
    return torch.argsort((bits[:n] << 31) ^ bits[n:], stable=True)


def _split(integers: Seeds) -> tuple[Tensor, Tensor]:
    """Low and high 32 bits of integers of any sign and size (mod 2^64), each (B,)."""
    if isinstance(integers, Tensor):
        values = integers.reshape(-1).to(torch.int64)
        return values & WORD, (values >> 32) & WORD
    listed = [integers] if isinstance(integers, int) else [int(i) for i in integers]
    return torch.tensor([i & WORD for i in listed]), torch.tensor([(i >> 32) & WORD for i in listed])


def _philox(counter: list[Tensor], key: tuple[Tensor, Tensor]) -> list[Tensor]:
    c0, c1, c2, c3 = counter
    turn = torch.arange(ROUNDS, device=c0.device)[:, None, None]
    keys = [((part[:, None] + turn * weyl) & WORD).unbind() for part, weyl in zip(key, WEYL, strict=True)]  # each (B, 1)
    for k0, k1 in zip(*keys, strict=True):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]  # 64-bit products: the wrapped sign bit is masked away
        c0, c2 = (p1 >> 32).bitwise_xor_(c1).bitwise_xor_(k0), (p0 >> 32).bitwise_xor_(c3).bitwise_xor_(k1)
        c0, c2 = c0.bitwise_and_(WORD), c2.bitwise_and_(WORD)
        c1, c3 = p1.bitwise_and_(WORD), p0.bitwise_and_(WORD)
    return [c0, c1, c2, c3]
