"""The proof of a pipeline directory: what was written, read again and run beside what we have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import unnoise
from unnoise.certificate import Certificate, Comparison, answers, compare, questions
from unnoise.denoiser import Denoiser
from unnoise.guidance import Guided
from unnoise.prediction import Prediction
from unnoise.schedule import Discrete
from unnoise.task.export.scheduler import Stock
from unnoise.tensor import Cond, Rng, expand
from unnoise.train import read_weights
from unnoise.zoo import diffusers, dit

WEIGHTS = "diffusion_pytorch_model.safetensors"
OUTPUTS, PICTURES = 1e-5, 1e-4  # what may be between theirs and ours
SIDE = 8  # of the pictures of the walk


def proof(said: Stock, folder: Path, part: str, digest: str) -> Certificate:
    """A certificate that has passed.

    Weights and outputs of our network as it reads back are compared always; where diffusers is installed, the outputs of its
    own class, and a whole walk of its scheduler with noise of its drawing (on a network made for that, which costs nothing).

    Args:
        said: The `Stock` that was written.
        folder, part: Where; the network's part of it.
        digest: Of the weights' file that the model came from.

    Raises:
        ValueError: If anything differs.
    """
    network: Any = said.denoiser.network
    config = json.loads((folder / part / "config.json").read_text("utf-8"))
    kind = config["_class_name"]
    back: Any = (diffusers if part == "unet" else dit).load(read_weights(folder / part / WEIGHTS)[0], config).eval()
    last = len(said.table) - 1
    levels = sorted({0.0, 1.0, float(last // 4), float(last // 2), float(last)})
    asked = questions(network.shape, network.conds, levels, null=part != "unet" or diffusers.NULL in config)
    mine = answers(network, asked)
    compared = [_same(f"weights ours -> {kind} -> ours", back, network)]
    compared.append(compare("outputs of our network, read back", answers(back, asked), mine, OUTPUTS))
    sides: dict[str, dict[str, Any]] = {
        "unnoise": {"version": unnoise.__version__, "torch": torch.__version__, "weights": digest}
    }
    note = "diffusers is not installed here: its own classes were not run"
    if there := _installed():
        theirs = getattr(there, kind).from_pretrained(folder / part, low_cpu_mem_usage=False).eval()
        compared.append(compare(f"outputs of {kind}", answers(_asked(theirs), asked), mine, OUTPUTS))
        scheduler = getattr(there, said.name).from_pretrained(folder / "scheduler")
        ours, yours = walks(said, scheduler)
        compared.append(compare(f"a walk of {len(said.times)} steps", ours, yours, PICTURES))
        sides["diffusers"], note = {"version": there.__version__, "network": kind, "scheduler": said.name}, ""
    return Certificate(sides, asked.facts(), compared, note).demand()


def walks(said: Stock, scheduler: Any) -> tuple[Tensor, Tensor]:
    """Where our sampler and their scheduler end from the same noise, asking a network that costs nothing."""
    network: Any = said.denoiser.network
    made = Made(said.table, said.denoiser.predict, network.variance)
    denoiser = Denoiser(made, said.table, said.denoiser.predict)
    x = Rng(range(2)).normal((network.shape[0], SIDE, SIDE), "certificate walk")
    draws = torch.Generator().manual_seed(0)
    guided = Guided(denoiser, *said.guidance) if said.guidance else denoiser
    ours = said.sampler(guided, x, said.times, rng=lambda like, t, s: torch.randn(like.shape, generator=draws))
    draws.manual_seed(0)
    scheduler.set_timesteps(len(said.times))
    for t in scheduler.timesteps:
        output = made(x, t.double().expand(len(x)))
        x = scheduler.step(output, t, x, generator=draws).prev_sample
    return ours, x


class Made(nn.Module):
    """What a network would say of normal data of deviation 1/2, with a ripple: smooth, cheap, and different at every level."""

    def __init__(self, table: Discrete, predict: Prediction, variance: bool) -> None:
        super().__init__()
        self.table, self.predict, self.variance = table, predict, variance

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        at = level.round().long()
        alpha, sigma = self.table.alphas[at], self.table.sigmas[at]
        c_skip, c_out, _ = (expand(c, x) for c in self.predict(alpha, sigma))
        alpha, sigma = expand(alpha, x), expand(sigma, x)
        x = x.double()
        x0 = alpha * x / 4 / (alpha**2 / 4 + sigma**2) + 0.1 * sigma * (2 * x).sin()
        said = (x0 - c_skip * x) / c_out
        return (torch.cat([said, (2 * x).cos() / 2], 1) if self.variance else said).float()


def _asked(theirs: Any) -> Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]:
    return lambda x, level, cond: theirs(x, level, class_labels=next(iter(cond.values()), None)).sample


def _same(what: str, again: nn.Module, ours: nn.Module) -> Comparison:
    """All weights at once, to the bit."""
    back = again.state_dict()
    each = [compare(what, back[name], value, 0.0) for name, value in ours.state_dict().items()]
    return max(each, key=lambda one: (not one.passed, one.absolute))


def _installed() -> Any:
    try:
        import diffusers as there
    except ImportError:
        return None
    return there
