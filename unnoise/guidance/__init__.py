"""What changes the denoiser's answer."""

from unnoise.guidance.apg import APG
from unnoise.guidance.auto import Auto
from unnoise.guidance.base import Borrowing, Guidance, Guided
from unnoise.guidance.base import gradient as gradient
from unnoise.guidance.cfg import CFG
from unnoise.guidance.classifier import Classifier
from unnoise.guidance.clip import Clip, Threshold
from unnoise.guidance.inverse import MMPS, PiGDM

__all__ = ["APG", "CFG", "MMPS", "Auto", "Borrowing", "Classifier", "Clip", "Guidance", "Guided", "PiGDM", "Threshold"]
