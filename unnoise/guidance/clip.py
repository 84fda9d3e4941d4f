"""x0 brought back into the range of the data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unnoise.denoiser import Answer, Denoise, Time
from unnoise.guidance.base import Guidance
from unnoise.tensor import Cond, expand


@dataclass(frozen=True)
class Clip(Guidance):
    """x0 brought back into the range of the data, as the papers on pictures do at every step; `raw` keeps what it was.

    Reference: Ho et al. 2020, reference code; Saharia et al., Imagen, 2022, section 2.3 (static thresholding). arXiv:2205.11487
    """

    low: float = -1.0
    high: float = 1.0

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        answer = denoise.answer(x_t, t, cond)
        return answer._replace(x0=answer.x0.clamp(self.low, self.high), raw=answer.x0)


@dataclass(frozen=True)
class Threshold(Guidance):
    """Dynamic thresholding: a sample whose x0 leaves [-high, high] is shrunk until a share of its values does not.

        s  = the `share` quantile of |x0| over the sample's values, at least high and at most `most`
        x0 = high clamp(x0, -s, s) / s

    In place of `Clip`, under strong guidance of pictures in colour; `raw` keeps what x0 was.

    Args:
        share: Of the values that are not clipped, in (0, 1].
        high: The largest value of data.
        most: The largest s; None: any.

    Raises:
        ValueError: For a share outside of (0, 1], a range that is not positive, or a largest s below it.

    Reference: Saharia et al., Imagen, 2022, section 2.3. arXiv:2205.11487
    """

    share: float = 0.995
    high: float = 1.0
    most: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not self.high > 0:
            raise ValueError(f"share = {self.share:g}, high = {self.high:g}; expected a share in (0, 1] and a positive range")
        if self.most is not None and self.most < self.high:
            raise ValueError(f"most = {self.most:g} is below high = {self.high:g}; expected at least that")

    def __call__(self, denoise: Denoise, x_t: Tensor, t: Time, cond: Cond | None) -> Answer:
        answer = denoise.answer(x_t, t, cond)
        size = answer.x0.flatten(1).abs().float().quantile(self.share, dim=1).clamp(self.high, self.most).to(answer.x0)
        s = expand(size, answer.x0)
        return answer._replace(x0=answer.x0.clamp(-s, s) * (self.high / s), raw=answer.x0)
