"""Our networks beside those of diffusers at the same configuration and weights: forward and backward, in turn, in one process.

`python -m benchmarks networks [--threads=1,2] [--rounds=15] [--device=cpu] [--batch=4] [--compile=false]`; goal: a ratio of at
most 1.05. The U-Net is DDPM's of CIFAR-10 (35.7 M), the transformer DiT-S/2 for latents of 32 x 32.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.pairs import pairs
from unnoise.condition import Condition
from unnoise.network import DiT, UNet
from unnoise.zoo import diffusers, dit

GOAL = 1.05


def unet() -> tuple[nn.Module, nn.Module]:
    from diffusers import UNet2DModel

    ours = UNet(
        (3, 32, 32), width=128, multipliers=(1, 2, 2, 2), attention=(1,), heads=1, embedding="add", resample="conv_right",
        features="sin cos", eps=1e-6,
    )  # fmt: skip
    return ours, _theirs(UNet2DModel, *diffusers.dump(_awake(ours)))


def transformer() -> tuple[nn.Module, nn.Module]:
    from diffusers import DiTTransformer2DModel

    label = {"label": Condition(classes=tuple(map(str, range(1000))))}
    ours = DiT((4, 32, 32), label, width=384, depth=12, heads=6, features="cos sin endpoint", eps=(1e-6, 1e-5))
    return ours, _theirs(DiTTransformer2DModel, *dit.dump_diffusers(_awake(ours)))


def passes(network: nn.Module, call: Callable[..., Tensor], given: tuple[Any, ...]) -> Callable[[], None]:
    """One forward and one backward pass to all weights."""

    def run() -> None:
        call(*given).square().mean().backward()
        for weight in network.parameters():
            weight.grad = None

    return run


def measure(
    made: Callable[[], tuple[nn.Module, nn.Module]], batch: int, rounds: int, device: str, compiled: bool
) -> dict[str, Any]:
    torch.manual_seed(0)
    ours, theirs = (network.to(device).train() for network in made())
    x = torch.randn(batch, *ours.shape, device=device)  # type: ignore[misc]
    level, label = torch.arange(batch, device=device) * 200.0, torch.arange(batch, device=device)
    cond = {"label": label} if ours.conds else {}  # type: ignore[truthy-function]
    extra = {"class_labels": label} if cond else {}
    mine: Any = torch.compile(ours) if compiled else ours
    yours: Any = torch.compile(theirs) if compiled else theirs
    for norm in theirs.modules():  # a class is never dropped here
        if hasattr(norm, "dropout_prob"):
            norm.dropout_prob = 0.0
    calls = (lambda: mine(x, level, cond)), (lambda: yours(x, level, **extra).sample)
    a, b = (call() for call in calls)
    apart = float((a - b).detach().abs().max())
    timed = pairs(passes(ours, calls[0], ()), passes(theirs, calls[1], ()), rounds, device)
    return {"parameters": sum(p.numel() for p in ours.parameters()), "batch": batch, "outputs_apart": apart, **timed}


def _awake(network: nn.Module) -> Any:
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return network


def _theirs(kind: Any, config: Any, weights: Any) -> nn.Module:
    made = kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    made.load_state_dict(weights)
    return made


def main(*arguments: str) -> None:
    options = {"threads": "1,2", "rounds": "15", "device": "cpu", "batch": "4", "compile": "false"}
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments)
    result: dict[str, Any] = {"goal": GOAL, "device": options["device"]}
    for threads in map(int, options["threads"].split(",")):
        torch.set_num_threads(threads)
        for name, made in (("UNet", unet), ("DiT", transformer)):
            told = measure(made, int(options["batch"]), int(options["rounds"]), options["device"], options["compile"] == "true")
            result[f"{name}, {threads} threads"] = told
            print(name, threads, told, file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
