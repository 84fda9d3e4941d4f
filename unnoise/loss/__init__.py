"""What is trained: the error of the denoiser at random times.

An objective is called with the model, a batch and keyed randomness and returns one loss a sample, (B,). It has a law of the
training times t, and says how much each of them counts.
"""

from unnoise.loss.adversarial import Adversarial
from unnoise.loss.autoencoding import Autoencoding
from unnoise.loss.base import Batch as Batch
from unnoise.loss.base import Objective as Objective
from unnoise.loss.base import Weight as Weight
from unnoise.loss.classes import CrossEntropy
from unnoise.loss.denoising import Denoising, Huber, absolute, square
from unnoise.loss.pairing import Paired
from unnoise.loss.score_matching import SlicedScore
from unnoise.loss.times import GOLDEN as GOLDEN
from unnoise.loss.times import Importance, LogitNormal, LogNormal, Stratified, Uniform
from unnoise.loss.times import Law as Law
from unnoise.loss.uncertainty import Uncertainty
from unnoise.loss.vlb import Decoder, Hybrid, Variational
from unnoise.loss.weights import EDM, P2, MinSNR, Sigmoid, SoftMinSNR, one, plain, score, snr, snr_plus_one

__all__ = [
    "EDM",
    "P2",
    "Adversarial",
    "Autoencoding",
    "CrossEntropy",
    "Decoder",
    "Denoising",
    "Huber",
    "Hybrid",
    "Importance",
    "LogNormal",
    "LogitNormal",
    "MinSNR",
    "Paired",
    "Sigmoid",
    "SlicedScore",
    "SoftMinSNR",
    "Stratified",
    "Uncertainty",
    "Uniform",
    "Variational",
    "absolute",
    "one",
    "plain",
    "score",
    "snr",
    "snr_plus_one",
    "square",
]
