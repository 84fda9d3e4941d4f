"""How fast are metrics? `python -m benchmarks.metrics CIFAR10 [N] [PEERS]`: N pictures through a network and all metrics.

Beside torchmetrics (found in the folder PEERS, or installed) with the same network: its Frechet, kernel and Inception numbers, as
they are used by default (each has its network run for itself), sharing one run, and sharing one run in the way that ours is run
(few pictures at once, channels last). One thread, seconds of the processor, those within the network apart; the memory that grows
while samples stream is printed too.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from unnoise import metric
from unnoise.domain import Images
from unnoise.metric import Metric
from unnoise.metric.features import Classifier
from unnoise.metric.features.base import initialise
from unnoise.tensor import Rng

BLOCK = 500
ALIKE = ("Frechet", "KernelDistance", "InceptionScore")


class Network(nn.Module):
    """What either side compares by: 64 features, which serve as logits too.

    Args:
        ours: Run as `Features.features` runs it, rather than on a block as it comes.
    """

    num_features = 64

    def __init__(self, ours: bool = True) -> None:
        super().__init__()
        self.of, self.ours, self.seconds = Classifier((3, 32, 32), 10), ours, 0.0
        initialise(self.of, Rng(0))
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        started = time.process_time()
        y = self.of.features(x) if self.ours else self.of._penultimate(x)
        self.seconds += time.process_time() - started
        return y


def blocks(data: str, split: str, n: int) -> Iterator[Tensor]:
    dataset = Images(data, size=32).dataset(split)
    for rows in torch.arange(min(n, len(dataset))).split(BLOCK):
        yield dataset.batch(rows)["x"]


def memory() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(network: Network, data: str, n: int, names: tuple[str, ...] | None) -> dict[str, float]:
    """All metrics of features, signals and values; or those that are named."""
    rows = torch.cat([network(x) for x in blocks(data, "test", 10_000)])
    some = torch.cat(list(blocks(data, "test", 2000))) if names is None else rows
    made: dict[str, Metric] = {
        "Frechet": metric.Frechet(rows),
        "KernelDistance": metric.KernelDistance(rows),
        "InceptionScore": metric.InceptionScore(),
    }
    if names is None:
        made |= {"Fidelity": metric.Fidelity(rows), "Diversity": metric.Diversity(rows)}
        made |= {"Spectrum": metric.Spectrum(some), "Marginals": metric.Marginals(some)}
    grown = {}
    for k, x in enumerate(blocks(data, "train", n)):
        y = network(x)
        for name, one in made.items():
            one.update(y.softmax(1) if name == "InceptionScore" else x if name in ("Spectrum", "Marginals") else y)
        if (k + 1) * BLOCK in (10_000, 25_000):
            grown[f"MB after {(k + 1) * BLOCK:,}"] = round(memory())
    grown["MB after all"] = round(memory())
    found = {name: value for one in made.values() for name, value in one.compute().items()}
    return found | grown


def theirs(network: Network, data: str, n: int, shared: bool) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance
    from torchmetrics.wrappers import FeatureShare

    fid, kid = FrechetInceptionDistance(feature=network), KernelInceptionDistance(feature=network)
    score = InceptionScore(feature=network)
    if shared:
        FeatureShare([fid, kid, score])  # the network of all three is one that remembers its last answers
    for x in blocks(data, "test", 10_000):
        fid.update(x, real=True)
        kid.update(x, real=True)
    for x in blocks(data, "train", n):
        fid.update(x, real=False)
        kid.update(x, real=False)
        score.update(x)
    return {"frechet": float(fid.compute()), "kid": float(kid.compute()[0]), "inception_score": float(score.compute()[0])}


def main(data: str, n: str = "50000", peers: str = "") -> None:
    if peers:
        sys.path.append(peers)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    count = int(n)
    for _ in blocks(data, "test", 1):
        pass  # the pictures are decoded once
    runs: dict[str, tuple[Network, Callable[[Network], dict[str, float]]]] = {
        "ours, all metrics": (Network(), lambda network: ours(network, data, count, None)),
        "torchmetrics, three metrics": (Network(ours=False), lambda network: theirs(network, data, count, False)),
        "ours, the same three": (Network(), lambda network: ours(network, data, count, ALIKE)),
        "torchmetrics, three that share a network": (Network(ours=False), lambda network: theirs(network, data, count, True)),
        "torchmetrics, three that share a network run as ours is": (
            Network(),
            lambda network: theirs(network, data, count, True),
        ),
    }
    told = {}
    for name, (network, run) in runs.items():
        started = time.process_time()
        found = run(network)
        seconds = time.process_time() - started
        cost = {
            "seconds": round(seconds, 1),
            "in the network": round(network.seconds, 1),
            "pictures/s": round(count / seconds, 1),
        }
        told[name] = cost | found
        print(name, told[name], file=sys.stderr, flush=True)
    print(json.dumps({"pictures": count, "runs": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
