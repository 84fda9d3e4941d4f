"""CIFAR-10 enlarged from 8 x 8: `python -m benchmarks upscale SR3 REGRESSION DATA [STEPS] [JUDGE]`, some ten minutes of one core.

SR3 is a run of the recipe sr3-cifar10, REGRESSION one of regression-cifar10 (the same network, as many steps), DATA what both
were trained on. Of SINGLE test pictures one sample is compared with the truth and the regression's answer; of the first MEANS of
them MANY samples, their mean and their spread, and the mean of as many in pairs: a half of them, and their mirror images. JUDGE
is a classifier that neither run has seen (`unnoise features DATA --out JUDGE`; one is trained if none is given): its accuracy and
the Frechet distance of its features to those of other test pictures. Every picture is rounded to 8 bits, as its file would be.
Twelve are shown on `upscale-cifar10.png` in the working directory.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.metric.features import Classifier
from unnoise.metric.features import train as train_classifier
from unnoise.metric.moments import Moments, frechet
from unnoise.metric.pixels import psnr, ssim
from unnoise.model import Model, load
from unnoise.tensor import Rng, permutation

SINGLE, MEANS, MANY, OTHERS, SHOWN = 1000, 64, 16, 4000, 12


def main(sr3: str, regression: str, data: str, steps: str = "0", judge: str = "") -> None:
    root = [f"domain.Images.root={data!r}"]
    model, mean_model = (load(run, overrides=root) for run in (sr3, regression))
    model.defaults = type(model.defaults)(int(steps) or model.defaults.steps, 50)
    labelled = model.recipe.override('domain.Images.conditions=["label"]').build("domain")
    rows = permutation(len(labelled.dataset("test")), 0, "benchmark test")[: SINGLE + OTHERS]
    test = labelled.dataset("test").batch(rows)
    x, label, others = test["x"][:SINGLE], test["label"][:SINGLE], test["x"][SINGLE:]
    classifier = judged(labelled, judge)
    shown = model.shown
    assert shown and mean_model.shown and shown.members == mean_model.shown.members
    cond = shown.of(x, Rng(0, torch.arange(SINGLE)))
    y = shown.operator(cond)(x)

    started = time.process_time()
    many = torch.stack([sampled(model, cond, MEANS, 1 + k) for k in range(MANY - 1)])
    first = sampled(model, cond, SINGLE, 0)
    many = torch.cat([first[None, :MEANS], many])
    seconds = (time.process_time() - started) / (SINGLE + MEANS * (MANY - 1))
    answers = {
        "bicubic": rounded(F.interpolate(y, size=x.shape[-2:], mode="bicubic", align_corners=False)),
        "pinv": rounded(cond["seen"]),
        "regression": sampled(mean_model, cond, SINGLE, 0),
        "sample": first,
        "real": x,
    }
    figures = {name: told(answer, x, y, label, others, classifier, shown) for name, answer in answers.items()}
    half = many[: MANY // 2]
    pairs = torch.cat([half, torch.stack([sampled(model, cond, MEANS, k, mirrored=True) for k in range(len(half))])])
    average, spread = many.mean(0), many.std(0, correction=1)
    some = x[:MEANS]
    few = {name: psnr(answer[:MEANS], some) for name, answer in answers.items() if name != "real"}
    small = F.interpolate(y, scale_factor=x.shape[-1] // y.shape[-1])
    columns = [small, answers["bicubic"], answers["regression"], average, *many[:3], (6 * spread - 1).clamp(max=1), x]
    model.domain.grid(torch.stack([c[:SHOWN] for c in columns], 1).flatten(0, 1), len(columns)).save("upscale-cifar10.png")
    print(json.dumps({
        "of_all": figures,
        "psnr_of_the_first": {**few, "mean_of_samples": psnr(average, some),
                              "mean_of_mirrored_pairs": psnr(pairs.mean(0), some), "samples": MANY, "pictures": MEANS},
        "spread_and_error": correlations(spread, (average - some).abs()),
        "spread_over_error": float(spread.square().mean().sqrt() / (average - some).square().mean().sqrt()),
        "frechet_sample_over_regression": figures["sample"]["frechet"] / figures["regression"]["frechet"],
        "judge_accuracy_on_real": figures["real"]["accuracy"],
        "parameters": sum(p.numel() for p in model.denoiser.parameters()),
        "steps": model.defaults.steps, "sampler": repr(model.sampler), "times": repr(model.times),
        "training_steps": [m.recipe.members("train")["Trainer"]["steps"] for m in (model, mean_model)],
        "training_batch": [m.recipe.members("train")["Trainer"]["batch"] for m in (model, mean_model)],
        "cpu_seconds_a_sample": round(seconds, 3),
    }))  # fmt: skip


def judged(domain, judge: str) -> Classifier:
    if judge:
        return Classifier.load(Path(judge))
    dataset = domain.dataset("train")
    train = dataset.batch(torch.arange(len(dataset)))
    return train_classifier(train["x"], train["label"], 10, steps=1500)


def sampled(model: Model, cond: dict[str, Tensor], n: int, k: int, mirrored: bool = False) -> Tensor:
    """The k-th sample of each of the first n pictures, or its mirror image, at the levels of its file."""
    seeds, some = [100_000 * k + i for i in range(n)], {c: v[:n] for c, v in cond.items()}
    return rounded(model.sample(seeds=seeds, cond=some, mirrored=mirrored))


def rounded(x: Tensor) -> Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def told(answer: Tensor, x: Tensor, y: Tensor, label: Tensor, others: Tensor, classifier: Classifier, shown) -> dict[str, float]:
    """What is measured of one answer to each picture."""
    return {
        **({} if answer is x else near(answer, x, y, shown)),
        "accuracy": classifier.accuracy(answer, label),
        "frechet": frechet(Moments(classifier.features(others)), Moments(classifier.features(answer))),
    }


def near(answer: Tensor, x: Tensor, y: Tensor, shown) -> dict[str, float]:
    """To the truth, and to what was seen of it."""
    return {"psnr": psnr(answer, x), "ssim": ssim(answer, x), "consistency": psnr(shown.operator({})(answer), y)}


def correlations(spread: Tensor, error: Tensor) -> dict[str, float]:
    """Of each pixel's spread with its error: of values (Pearson), and of ranks (Spearman)."""
    a, b = spread.mean(1).flatten().double(), error.mean(1).flatten().double()
    ranks = torch.stack([v.argsort().argsort().double() for v in (a, b)])
    return {"pearson": float(torch.corrcoef(torch.stack([a, b]))[0, 1]), "spearman": float(torch.corrcoef(ranks)[0, 1])}


if __name__ == "__main__":
    main(*sys.argv[1:])
