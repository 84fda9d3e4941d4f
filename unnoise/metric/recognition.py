"""What a classifier says of samples: as what it recognises them, how surely, and whether that is what they were asked to be.

It sees its own kind of data only: what is no picture at all may be recognised with certainty.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from unnoise.metric.base import LEVEL, Estimate, Metric, rows
from unnoise.metric.interval import linear, share_interval
from unnoise.metric.moments import Moments


class InceptionScore(Metric):
    """`inception_score`: how sure a classifier is of each sample, and how evenly its answers are spread; from 1 to K.

        exp(mean_i KL(p_i || mean_j p_j))

    of the probabilities p_i, (K,), of each sample; `update` takes them, (B, K). All samples make one group, so that their order
    does not matter (published numbers are often the mean over ten groups, and a little lower). It compares with no data.

    Reference: Salimans et al., Improved Techniques for Training GANs, 2016, section 4. arXiv:1606.03498
    """

    def __init__(self) -> None:
        self.moments = Moments()  # of (p, sum p log p): the score and its interval follow

    def update(self, x: Tensor) -> None:
        p = rows(x, torch.float64)
        self.moments.update(torch.cat([p, torch.special.xlogy(p, p).sum(1, keepdim=True)], 1))

    def merge(self, other: Self) -> None:
        self.moments.merge(other.moments)

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        covariance = self.moments.covariance
        weights = torch.cat([-self.moments.mean[:-1].clamp(min=1e-30).log(), torch.ones(1, dtype=torch.float64)])
        mean = float(weights @ self.moments.mean)  # of the divergences; also their gradient
        ends = linear(mean, weights, covariance, self.moments.n, level)
        return {"inception_score": Estimate(*(float(torch.tensor(end, dtype=torch.float64).exp()) for end in ends))}


class Recognition(Metric):
    """How samples are recognised: `class_distance` to the shares of the data, and `accuracy` where classes were asked for.

        class_distance = sum_k |share_k - shares_k| / 2

    is the share of samples that would have to be of another class. `update` takes the class found for each sample, (B,), and the
    one asked for. Classes of the null (K) and beyond were not asked for.

    Args:
        shares: Of each class among the data, (K,).
    """

    def __init__(self, shares: Tensor) -> None:
        self.shares = shares.double()
        self.found = torch.zeros(len(shares), dtype=torch.long)
        self.confusion = torch.zeros(len(shares), len(shares), dtype=torch.long)  # asked, found

    def update(self, x: Tensor, asked: Tensor | None = None) -> None:
        k, x = len(self.shares), x.flatten().long()
        self.found += torch.bincount(x, minlength=k)
        if asked is not None:
            known = asked < k
            self.confusion += torch.bincount(asked[known] * k + x[known], minlength=k * k).reshape(k, k)

    def merge(self, other: Self) -> None:
        self.found, self.confusion = self.found + other.found, self.confusion + other.confusion

    def estimate(self, level: float = LEVEL) -> dict[str, Estimate]:
        n, asked = int(self.found.sum()), int(self.confusion.sum())
        if not n:
            raise ValueError("Recognition has seen no samples yet")
        p = self.found.double() / n
        sign = (p - self.shares).sign() / 2
        away = linear(float(sign @ (p - self.shares)), sign, p.diag() - torch.outer(p, p), n, level)
        numbers = {"class_distance": Estimate(away.value, max(away.low, 0), away.high)}
        if asked:
            right = int(self.confusion.trace())
            numbers["accuracy"] = Estimate(right / asked, *share_interval(right, asked, level))
        return numbers

    @property
    def missing(self) -> list[int]:
        """Classes of which there are fewer than a tenth of what the data would let expect, and surely fewer."""
        n = int(self.found.sum())
        few = [share_interval(int(hits), n)[1] < share / 2 for hits, share in zip(self.found, self.shares, strict=True)]
        return [k for k, rare in enumerate(few) if rare and float(self.found[k]) < 0.1 * n * float(self.shares[k])]
