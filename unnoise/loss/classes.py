"""What a classifier of noised data is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from unnoise.denoiser import Recogniser
from unnoise.loss.base import Batch, noised
from unnoise.loss.times import Law, Uniform, weighed
from unnoise.tensor import Rng


@dataclass(frozen=True)
class CrossEntropy:
    """How surprising the class is to one who sees x noised to a random time, in nats.

        loss = -log p(class | alpha_t x + sigma_t eps)

    An item whose class is missing has loss 0.

    Args:
        times: The law of t.

    Reference: Dhariwal & Nichol, Diffusion Models Beat GANs, 2021, section 4 and appendix H. arXiv:2105.05233
    """

    times: Law = field(default_factory=Uniform)

    def __call__(self, model: Recogniser, batch: Batch, rng: Rng) -> Tensor:
        t = self.times(model.schedule, rng)
        return weighed(self.times, model.schedule, t, self.at(model, batch, t, rng))

    def at(self, model: Recogniser, batch: Batch, t: Tensor, rng: Rng) -> Tensor:
        """The losses at given times, (B,)."""
        ((name, condition),) = model.conds.items()
        at = noised(model, batch, t, rng)
        return F.nll_loss(model.log_class(at.x_t, t), batch[name], ignore_index=len(condition.classes), reduction="none")
