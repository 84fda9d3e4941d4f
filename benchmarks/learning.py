"""What recipes of training do, on small data: `python -m benchmarks learning FOLDER`; one small network, each beside its control.

augment: digits moved and told, and moved without a word; how many samples a judge takes for moved ones.
conditions: pictures of which words say the bright halves and a number how bright; what comes of what is asked.
pairing: a checkerboard from paired noise and from unpaired, at few evaluations.
recalling: digits with and without the network's earlier estimate, at equal evaluations.
offset: dark and bright pictures under a schedule that keeps a trace of them at its end; plain noise, offset in training alone,
    offset by its law.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.augment import Geometric
from unnoise.metric import Moments, SlicedWasserstein, frechet
from unnoise.metric.features import Pooled
from unnoise.model import Model
from unnoise.recipe import Recipe
from unnoise.task.train import assemble
from unnoise.tensor import Rng

SEEDS = (0,)
SAMPLES = 500
BASE = """
schedule = "Cosine"
prediction = "v"
[network.MLP]
width = 192
depth = 3
[loss.Denoising]
times = "Stratified"
[train.Trainer]
steps = 600
batch = 64
lr = 2e-3
warmup = 50
decay = "cosine"
ema = 0.99
ema_warmup = 0.1
save_every = 100000
[model.Defaults]
steps = 20
batch = 500
"""


class Untold(Geometric):
    """The control: pictures are moved, and the network is told nothing."""

    def conds(self, shape: tuple[int, ...]) -> dict[str, Any]:
        return {}

    def __call__(self, x: Tensor, rng: Rng) -> dict[str, Tensor]:
        return {"x": super().__call__(x, rng)["x"]}


def main(folder: str) -> None:
    """Parts whose result lies in the folder are not done again."""
    torch.set_num_threads(1)
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    os.environ["UNNOISE_CACHE"] = str(out / "cache")
    for part in (augment, conditions, pairing, offset, recalling):
        kept = out / f"{part.__name__}.json"
        if not kept.is_file():
            kept.write_text(json.dumps(part(out)))
    print(json.dumps({file.stem: json.loads(file.read_text()) for file in sorted(out.glob("*.json"))}, indent=1))


def learnt(out: Path, name: str, domain: str, *changes: str) -> Model:
    """A model trained by a recipe, or the one that lies there."""
    recipe = Recipe.parse(f"{BASE}\n{domain}", changes)
    setting = assemble(recipe, "cpu", say=lambda line: None)
    trained = setting.trainer.fit(
        setting.model.denoiser, setting.objective, setting.data, out / name, prepare=setting.prepare, say=lambda line: None
    )
    setting.model.denoiser = trained  # type: ignore[assignment]
    return setting.model


def augment(out: Path) -> dict[str, Any]:
    domain, moving = "[domain.Digits]", Geometric(0.5)
    ways = {"told": "augment.Geometric.probability=0.12"}
    ways["not told (control)"] = 'augment={"benchmarks.learning:Untold" = {probability = 0.12}}'
    long = "train.Trainer.steps=1800"  # after 600 what it is told is not learnt yet: 39 % are moved
    models = {name: learnt(out, f"moved-{i}", domain, change, long) for i, (name, change) in enumerate(ways.items())}
    data = {split: models["told"].domain.dataset(split) for split in ("train", "val", "test")}
    real = {split: one.batch(torch.arange(len(one)))["x"] for split, one in data.items()}
    judge = judged(real["train"], moving)
    new = torch.cat([real["val"], real["test"]])
    found = {"new digits": new, "new digits, each moved": moved(new, Geometric(1.0), 1)}
    found |= {f"samples, {name}": model.sample(SAMPLES) for name, model in models.items()}
    return {name: round(float((judge(x.flatten(1)) > 0).double().mean()), 3) for name, x in found.items()}


def moved(x: Tensor, moving: Geometric, step: int) -> Tensor:
    return moving(x, Rng(9, torch.arange(len(x))).at(step))["x"]


def judged(x: Tensor, moving: Geometric) -> nn.Module:
    """Says whether a digit has been moved: above 0."""
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Dropout(0.3), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1))
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.05)
    for step in range(400):
        some = x[torch.randperm(len(x))[:128]]
        both = torch.cat([some, moved(some, moving, step)]).flatten(1)
        same = torch.cat([torch.ones(len(some)), (both[len(some) :] == some.flatten(1)).all(1).float()])
        blurred = both + 0.2 * torch.randn_like(both)  # that it looks at shapes, not at traces of a network
        loss = nn.functional.binary_cross_entropy_with_logits(judge(blurred)[:, 0], 1 - same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return judge.eval()


def conditions(out: Path) -> dict[str, Any]:
    folder, random = out / "lamps", np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    rows = []
    for i in range(600):
        words, light = [word for word in ("left", "right") if random.random() < 0.5], float(random.uniform(50, 250))
        pixels = random.normal(20, 5, (8, 8))
        for word in words:
            pixels[:, slice(0, 4) if word == "left" else slice(4, 8)] += light - 20
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")
        row = {"file_name": f"{i:03}.png", "lit": words, "light": 1000 + light}
        rows.append({key: value for key, value in row.items() if key == "file_name" or random.random() < 0.8})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = learnt(out, "lamps-run", f"[domain.Images]\nroot = {str(folder)!r}\ndrop = {{lit = 0.1, light = 0.2}}")
    told = {}
    for words in ("", "left", "right", "left+right"):
        for light in (80, 220):
            x = (model.sample(100, cond={"lit": words, "light": 1000 + light}) + 1) * 127.5
            told[f"{words or 'none'} at {light}"] = [round(float(half.mean()), 1) for half in (x[..., :4], x[..., 4:])]
    unasked = (model.sample(400, cond={}) + 1) * 127.5
    lit = torch.stack([unasked[..., :4].mean((1, 2, 3)) > 35, unasked[..., 4:].mean((1, 2, 3)) > 35], 1)
    return {
        "mean of left and right half": told,
        "lit halves where nothing is asked": [round(float(v), 3) for v in lit.double().mean(0)],
    }


def pairing(out: Path) -> dict[str, Any]:
    domain = '[domain.Points]\nname = "checkerboard"'
    flow = ["schedule=Flow", "prediction=flow", "train.Trainer.batch=128", "train.Trainer.steps=400"]
    found: dict[str, dict[str, list[float]]] = {}
    for seed in SEEDS:
        for name, more in (("paired", ["loss.Denoising.pairing.Paired.group=64"]), ("unpaired (control)", [])):
            model = learnt(out, f"board-{name[:4]}-{seed}", domain, *flow, f"train.Trainer.seed={seed}", *more)
            data = model.domain.dataset("val")
            real = data.batch(torch.arange(len(data)))["x"]
            for steps in (2, 4):
                metric = SlicedWasserstein(real)
                metric.update(model.sample(len(data), steps=steps, seed=10_000 * seed))
                distance = metric.compute()["sliced_wasserstein"]
                found.setdefault(name, {}).setdefault(f"{steps} evaluations", []).append(distance)
    return {
        "sliced distance, mean over the seeds": {n: {k: round(mean(v), 4) for k, v in row.items()} for n, row in found.items()}
    }


def recalling(out: Path) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {}
    for seed in SEEDS:
        for name, more in (("self-conditioned", ["denoiser=SelfConditioned"]), ("plain (control)", [])):
            model = learnt(out, f"digits-{name[:4]}-{seed}", "[domain.Digits]", f"train.Trainer.seed={seed}", *more)
            data, features = model.domain.dataset("train"), Pooled(8)
            real = Moments(features.features(data.batch(torch.arange(len(data)))["x"]))
            for steps in (5, 20):
                x = model.sample(SAMPLES, steps=steps, seed=10_000 * seed).clamp(-1, 1)
                found.setdefault(name, {}).setdefault(f"{steps} evaluations", []).append(
                    frechet(real, Moments(features.features(x)))
                )
    return {
        "Frechet distance of pixels, mean over the seeds": {
            n: {k: round(mean(v), 3) for k, v in row.items()} for n, row in found.items()
        }
    }


def offset(out: Path) -> dict[str, Any]:
    folder, random = out / "fields.npy", np.random.default_rng(1)
    light = np.where(random.random(1000) < 0.5, 25, 230)[:, None, None]
    np.save(folder, (light + random.normal(0, 12, (1000, 8, 8))).clip(0, 255).astype(np.uint8))
    domain = f"[domain.Images]\nroot = {str(folder)!r}"
    short = ["schedule=VP", "schedule.VP.beta_max=6.0", "prediction=eps", "train.Trainer.steps=300"]
    ways = {"plain noise (control)": [], "offset in training alone (control)": ["loss.Denoising.offset=0.5"]}
    ways["offset by its law"] = ["codec=Offset", "codec.Offset.strength=0.5"]
    found = {"data": spread(torch.from_numpy(np.load(folder)).float() / 127.5 - 1)}
    for i, (name, more) in enumerate(ways.items()):
        found[name] = spread(learnt(out, f"fields-{i}", domain, *short, *more).sample(SAMPLES))
    return found


def spread(x: Tensor) -> dict[str, float]:
    """Of the brightness of pictures: its deviation, and how many are neither dark nor bright."""
    brightness = x.reshape(len(x), -1).mean(1)
    return {"deviation": round(float(brightness.std()), 3), "grey": round(float((brightness.abs() < 0.6).double().mean()), 3)}


if __name__ == "__main__":
    main(*sys.argv[1:])
