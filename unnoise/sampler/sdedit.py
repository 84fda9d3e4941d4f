"""Begin with a picture in place of noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from unnoise.sampler.around import Around
from unnoise.sampler.base import Sampler, Walk, path
from unnoise.sampler.ddim import DDIM


@dataclass(frozen=True, eq=False)
class SDEdit(Around):
    """Any sampler, begun at a picture that is noised to the first of the walk's times.

        x_t = alpha_t picture + sigma_t noise

    The first time is the strength of the change: let the walk begin there (`times.Below`). What stands in the picture above that
    noise is kept. The order is that of the sampler, but the law is not that of the data.

    Args:
        picture: (B, ...), or (1, ...) for all samples.
        sampler: Makes the steps.

    Reference: Meng et al., SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations, 2022, algorithm 1.
    arXiv:2108.01073
    """

    picture: Tensor
    sampler: Sampler = field(default_factory=lambda: DDIM(eta=1.0))

    def start(self, walk: Walk, x: Tensor) -> Tensor:
        _, (alpha,), (sigma,), _ = path(walk.denoiser.schedule, walk.times[:1])
        noise = x / (alpha**2 + sigma**2) ** 0.5  # the walk's own draw, so that a seed means one noise
        return alpha * self.picture.to(x) + sigma * noise
