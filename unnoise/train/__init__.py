"""Training: steps, averages, checkpoints, logs. Knows nothing of noise.

`Trainer` is what recipes name; the rest serves hooks, tasks and whoever reads a run's folder.
"""

from .batches import Dataset, Order
from .checkpoint import Checkpoint, latest, load, prune, save
from .ema import EMA
from .learner import NonFinite
from .lock import claim
from .power import Power
from .snapshots import reconstruct
from .trainer import Hook, State, Trainer
from .weights import assign, read_weights, write_weights

__all__ = [
    "EMA",
    "Checkpoint",
    "Dataset",
    "Hook",
    "NonFinite",
    "Order",
    "Power",
    "State",
    "Trainer",
    "assign",
    "claim",
    "latest",
    "load",
    "prune",
    "read_weights",
    "reconstruct",
    "save",
    "write_weights",
]
