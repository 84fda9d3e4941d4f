"""What other packages' arithmetic gives on the same features: makes metrics.json, which tests/laws/test_metric.py compares with.

Run once, where pytorch-fid 0.3.0, clean-fid 0.1.35 and torch-fidelity 0.4.0 lie in a folder of their own (`pip install --no-deps
--target FOLDER pytorch-fid clean-fid torch-fidelity`): `PYTHONPATH=. python tests/golden/metrics.py FOLDER`. They import
torchvision, which their arithmetic does not need: an empty module stands in for it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path

import torch
from torch import Tensor

from unnoise.metric.features.base import initialise
from unnoise.metric.features.inception import Inception
from unnoise.tensor import Rng

FILE = Path(__file__).with_suffix(".json")
ABSENT = {"torchvision", "timm", "requests", "ftfy", "regex", "gdown"}


def draw(n: int, d: int, purpose: str) -> Tensor:
    """Normal numbers that are a function of their place, (n, d)."""
    return Rng(11, torch.arange(n)).normal((d,), purpose, dtype=torch.float64)


def features() -> tuple[Tensor, Tensor]:
    """Two sets, correlated, skewed and shifted, (600, 48) and (500, 48)."""
    mix = draw(48, 48, "mix") / 7
    a, b = draw(600, 48, "a") @ mix, 1.2 * draw(500, 48, "b") @ mix + 0.1
    return a.relu() + 0.1 * a, b.relu() + 0.1 * b


def logits() -> Tensor:
    """Of ten classes, (400, 10)."""
    return 2 * draw(400, 10, "logits")


def pictures() -> Tensor:
    """Of 8 bits, (2, 3, 40, 56), in [-1, 1]."""
    smooth = torch.nn.functional.interpolate(draw(2, 3 * 5 * 7, "pictures").reshape(2, 3, 5, 7), (40, 56), mode="bilinear")
    return (smooth * 60 + 128).round().clamp(0, 255).float() / 127.5 - 1


def network() -> Inception:
    """Weights that are a function of their names."""
    made = Inception()
    initialise(made, Rng(3))
    return made.eval()


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty module for what is not there."""

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ABSENT else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        anything = type("Anything", (type,), {"__getattr__": lambda cls, name: anything(name, (), {})})
        module.__getattr__ = lambda name: anything(name, (), {})  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def main(folder: str) -> None:
    sys.meta_path.insert(0, Absent())
    sys.path.append(folder)
    import numpy as np
    from cleanfid.fid import fid_from_feats, kernel_distance
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    a, b = features()
    x, y = a.numpy(), b.numpy()
    np.random.seed(0)
    statistics = [fid_features_to_statistics(z) for z in (a, b)]
    kid = {"kid_subsets": 1, "kid_subset_size": 500, "verbose": False, "rng_seed": 0}
    told = {
        "pytorch-fid frechet": calculate_frechet_distance(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T)),
        "clean-fid frechet": fid_from_feats(x, y),
        "clean-fid kid": kernel_distance(x[:500], y, num_subsets=1, max_subset_size=500),
        "torch-fidelity frechet": fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"],
        "torch-fidelity kid": kid_features_to_metric(a[:500], b, **kid)["kernel_inception_distance_mean"],
        "torch-fidelity inception score": isc_features_to_metric(logits(), splits=1)["inception_score_mean"],
        **{f"torch-fidelity {k}": v for k, v in prc_features_to_metric(b, a, verbose=False).items()},
    }
    ours, weights = network(), Path("inception.tmp.pth")
    torch.save(ours.state_dict(), weights)
    theirs = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights))
    weights.unlink()
    found, scores = theirs(((pictures() + 1) * 127.5).round().to(torch.uint8))
    told["torch-fidelity inception features"] = found[:, :64].flatten().tolist()
    told["torch-fidelity inception logits"] = scores[:, :16].flatten().tolist()
    told["torch-fidelity inception names"] = sorted(name for name in theirs.state_dict() if "num_batches" not in name)[:40]
    FILE.write_text(
        json.dumps({name: value if isinstance(value, list) else float(value) for name, value in told.items()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1])
