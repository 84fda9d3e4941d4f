"""Features of large vision models, DINOv2 and CLIP, through the `transformers` library (extra `features`)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.metric.features.base import digest

CHUNK = 16  # pictures in one evaluation
PUBLISHED = {"dinov2": "facebook/dinov2-large", "clip": "openai/clip-vit-large-patch14-336"}
COLOURS = {  # mean and deviation of the pictures that they were trained on, of colours in [0, 1]
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
SIDES = {"dinov2": 224, "clip": 336}


class Transformer:
    """The class token of DINOv2 behind its last norm, (B, D), or the picture embedding of CLIP, of length 1, (B, D).

    Pictures are brought to a square by an antialiased bicubic filter.

    Args:
        kind: "dinov2" or "clip".
        source: A folder, or a name on the hub; that of the published distances if not given.

    Raises:
        ValueError: Without the library, or weights that can be had.

    Reference: Stein et al., Exposing Flaws of Generative Model Evaluation Metrics, 2023, section 4, arXiv:2306.04675 (DINOv2);
    Jayasumana et al., Rethinking FID: Towards a Better Evaluation Metric for Image Generation, 2024, section 5,
    arXiv:2401.09603 (CLIP).
    """

    def __init__(self, kind: str, source: str = "") -> None:
        if kind not in PUBLISHED:
            raise ValueError(f"features {kind!r}: expected {' or '.join(PUBLISHED)}")
        try:
            import transformers
        except ImportError as error:
            raise ValueError(f"features {kind} need transformers; install it with: pip install 'unnoise[features]'") from error
        self.kind, self.source = kind, source or PUBLISHED[kind]
        maker: Any = transformers.Dinov2Model if kind == "dinov2" else transformers.CLIPVisionModelWithProjection
        try:
            self.network = maker.from_pretrained(self.source, use_safetensors=True).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise ValueError(
                f"features {kind}: no weights at {self.source} ({first}); fetch them where there is a network and name the "
                f"folder: --features {kind}:FOLDER, or take raw or classifier"
            ) from error
        self.side = SIDES[kind] if kind == "dinov2" else int(self.network.config.image_size)

    @property
    def name(self) -> str:
        """Of the features, with the resizing."""
        return f"{self.kind}-bicubic{self.side}"

    @cached_property
    def digest(self) -> str:
        """Of the weights."""
        return digest(self.network)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Of grey or colour pictures in [-1, 1]."""
        return torch.cat([self._one(part) for part in x.split(CHUNK)])

    def _one(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"samples of shape {tuple(x.shape[1:])}: {self.kind} takes grey or colour pictures")
        mean, std = (torch.tensor(values)[:, None, None] for values in COLOURS[self.kind])
        x = F.interpolate((x.expand(-1, 3, -1, -1) + 1) / 2, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        found = self.network(pixel_values=(x - mean) / std)
        return found.pooler_output if self.kind == "dinov2" else F.normalize(found.image_embeds, dim=1)
