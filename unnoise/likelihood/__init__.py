"""How probable data are under a model: a bound that any chain gives, and the exact likelihood of the probability flow."""

from unnoise.likelihood.bound import Bound, bound, prior_kl
from unnoise.likelihood.flow import Density, Flow
from unnoise.likelihood.units import bits, dequantize, normal, width

__all__ = ["Bound", "Density", "Flow", "bits", "bound", "dequantize", "normal", "prior_kl", "width"]
