"""What changes the denoiser's answer."""

from unnoise.guidance.base import Guidance, Guided
from unnoise.guidance.rules import CFG, Clip

__all__ = ["CFG", "Clip", "Guidance", "Guided"]
