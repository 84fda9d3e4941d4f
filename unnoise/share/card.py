"""The model card: README.md with the metadata that hubs read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import unnoise
from unnoise.certificate import FILE, Certificate

LIBRARIES = {"diffusers": "diffusers", "onnx": "onnx"}
WORDS = {
    "accuracy": "recognised as the class asked for, by an independent classifier",
    "frechet": "Frechet distance to training data",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "copies": "share nearer to a training item than half of what new data are",
    "nearest": "median distance to the nearest training item, over that of new data",
    "favour": "share nearer to training data than to as many new (0.5: no memory)",
}
USE = {
    "unnoise": """```
unnoise sample THIS_FOLDER -n 16
```

```python
import unnoise

model = unnoise.load("THIS_FOLDER")
x = model.sample(16, seed=0)  # (16, {shape}) in [-1, 1]
```""",
    "diffusers": """```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("THIS_FOLDER")
picture = pipeline(batch_size=1, num_inference_steps={steps}).images[0]
```""",
    "onnx": """```
unnoise sample THIS_FOLDER -n 16 --engine onnx
```

```python
import onnxruntime

network = onnxruntime.InferenceSession("THIS_FOLDER/model.onnx")
[output] = network.run(None, {{{inputs}}})  # x: (B, {shape}), level: (B,)
```""",
    "torch-export": """```python
import torch

network = torch.export.load("THIS_FOLDER/model.pt2").module()
output = network({arguments})  # x: (B, {shape}), level: (B,)
```""",
}
LABELLED = """```python
import torch
from diffusers import {scheduler}, {network}

network = {network}.from_pretrained("THIS_FOLDER/{part}")
scheduler = {scheduler}.from_pretrained("THIS_FOLDER/scheduler")
scheduler.set_timesteps({steps})
label = torch.tensor([3])  # a class by number{null}
x = torch.randn(1, {shape})
for t in scheduler.timesteps:
    with torch.no_grad():
        output = network(x, t{expand}, class_labels=label).sample
    x = scheduler.step(output, t, x).prev_sample  # (1, {shape}) in [-1, 1]
```"""


@dataclass(frozen=True)
class Card:
    """What a card says besides what the model itself knows.

    Args:
        name: Of the model.
        form: "unnoise", "diffusers", "onnx" or "torch-export": how it is loaded.
        license: Of the weights, as hubs name it ("apache-2.0").
        datasets: As hubs name them.
        row: The last figures of the training's log.
        report: Those of its report.
        stock: Of a diffusers directory whose network is told a class: its parts, for the loop that samples it.
        fixed: Conditions that were fixed for good.
    """

    name: str
    form: str = "unnoise"
    license: str | None = None
    datasets: Sequence[str] = ()
    row: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    stock: Mapping[str, str] | None = None
    fixed: Mapping[str, Any] | None = None

    def text(self, model: Any, certificate: Certificate) -> str:
        """The whole file."""
        parts = [
            _front(self, model),
            f"# {self.name}",
            _what(model, self.fixed),
            "## Use",
            self._use(model),
            _made(model, self.row),
        ]
        parts += [_measured(self.report)] if self.report else []
        parts += [
            "## Proof",
            f"{certificate.line()} ({certificate.date}; `{FILE}`).{' ' + certificate.note if certificate.note else ''}",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _use(self, model: Any) -> str:
        shape = ", ".join(map(str, model.codec.shape(model.domain.shape)))
        names = sorted(model.denoiser.conds)
        inputs = ", ".join(f'"{name}": {name}' for name in ("x", "level", *names))
        template = LABELLED if self.stock else USE[self.form]
        use = template.format(
            shape=shape,
            steps=model.defaults.steps,
            inputs=inputs,
            arguments=", ".join(("x", "level", *names)),
            **(self.stock or {}),
        )
        if self.fixed:
            return use + "\n\nFixed: " + ", ".join(f"`{name}` = {value}" for name, value in self.fixed.items()) + "."
        classes = [f"`{name}`: " + ", ".join(c.classes[:20]) + (" ..." if len(c.classes) > 20 else "") for name, c in
                   model.denoiser.conds.items() if c.classes]  # fmt: skip
        return use + ("\n\nClasses, in the order of their numbers. " + "; ".join(classes) + "." if classes else "")


def _front(card: Card, model: Any) -> str:
    tags = ["diffusion", "unconditional-image-generation" if len(model.domain.shape) == 3 else "generative-model", "unnoise"]
    lines = ["---", f"library_name: {LIBRARIES.get(card.form, 'unnoise')}", "tags:", *(f"- {tag}" for tag in tags)]
    lines += [f"license: {card.license}"] if card.license else []
    lines += ["datasets:", *(f"- {name}" for name in card.datasets)] if card.datasets else []
    return "\n".join([*lines, "---"])


def _what(model: Any, fixed: Mapping[str, Any] | None) -> str:
    count, network = sum(p.numel() for p in model.denoiser.parameters()), _named(model.recipe, "network")
    conds = ", ".join(model.denoiser.conds)
    told = "of fixed conditions" if fixed else f"told {conds}" if conds else "unconditional"
    return (
        f"A diffusion model of samples of shape {' x '.join(map(str, model.domain.shape))}: {network} of {count:,} parameters, "
        f"{told}. Written by unnoise {unnoise.__version__}."
    )


def _made(model: Any, row: Mapping[str, Any]) -> str:
    facts, recipe, defaults = model.domain.facts(), model.recipe, model.defaults
    rows = {
        "data": f"{_named(recipe, 'domain')}, {' x '.join(map(str, facts['shape']))}",
        "items": ", ".join(f"{count:,} {split}" for split, count in facts.get("splits", {}).items()),
        "digest of the data": str(facts.get("digest", ""))[:16],
        "schedule, prediction": f"{_named(recipe, 'schedule')}, {_named(recipe, 'prediction')}",
        "sampled by": f"{model.sampler}, {model.times}, {defaults.steps} steps",
        "steps of training": row.get("step"),
        "loss": f"{row['loss']:.4g}" if "loss" in row else None,
        "held-out loss by band of t": ", ".join(f"{band}: {loss:.4g}" for band, loss in row.get("held_out", {}).items()),
        "training, minutes": round(row["time"]["seconds"] / 60, 1) if "time" in row else None,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value not in (None, ""))
    recipe_text = model.recipe.resolved().members("network")
    return f"## How it was made\n\n| | |\n|---|---|\n{table}\n\nThe network: `{json.dumps(recipe_text, default=str)}`."


def _measured(report: Mapping[str, Any]) -> str:
    """The figures of the report that are numbers, each beside that of real data where there is one."""
    lines = []
    for name, words in WORDS.items():
        if isinstance(report.get(name), int | float):
            interval, real = report.get(f"{name}_interval"), report.get(f"{name}_real")
            spread = f" ({interval[0]:.4g} to {interval[1]:.4g})" if isinstance(interval, list | tuple) else ""
            lines.append(f"| {words} | {report[name]:.4g}{spread} | {f'{real:.4g}' if isinstance(real, int | float) else ''} |")
    if not lines:
        return ""
    head = f"{report.get('samples', '?')} samples, {report.get('nfe', '?')} evaluations of the network each."
    return f"## Measured\n\n{head}\n\n| | samples | real data |\n|---|---|---|\n" + "\n".join(lines)


def _named(recipe: Any, section: str) -> str:
    return " ".join(recipe.members(section))
