"""What a whole training step takes, data to average, beside the loops of others: in turn, in one run, in one process.

    python -m benchmarks steps DATA [--size=small,large] [--rounds=11] [--threads=1] [--batch=N] [--device=cpu] [--block=1]
        [--others=lucidrains,azula,smalldiffusion,k-diffusion] [--precision=fp32] [--compile=false]

DATA is an archive of JPEGs in train/CLASS/ (`cifar10-jpeg.tar.gz`), of which a part is unpacked for all, or a folder of such.
Ours is `Trainer.fit` itself: a hook stops its clock, lets the others step, and starts it again. diffusers' example has the very
network and weights (6.5 M and 35.7 M parameters); the others, asked at the small size alone, have networks of their own, so that
what counts is arithmetic done a second. The goals are throughputs, ours over theirs. On an accelerator a turn is a block of steps
(`--block=20`), and the device is waited for between turns only. UNNOISE_PEERS names folders with the others, as in PYTHONPATH.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import _loops
from benchmarks._folder import batches, unpacked
from benchmarks._turns import WARM, Enough, Turns, now, since
from benchmarks.pairs import pairs
from unnoise.recipe import Recipe
from unnoise.task.train import Setting, assemble
from unnoise.tensor import Rng
from unnoise.train.learner import Learner
from unnoise.zoo import diffusers

GOALS = {"diffusers": 0.97, "lucidrains per FLOP": 1.2, "azula per FLOP": 1.0, "smalldiffusion per FLOP": 1.0, "update": 0.45}
SMALL = ("network.UNet.width=64", "network.UNet.multipliers=[1, 2, 2]", "network.UNet.groups=32")
PLAIN = ("network.UNet.dropout=0", "train.Trainer.steps=1000000", "train.Trainer.save_every=1000000",
         "train.Trainer.preview_every=0", "train.Trainer.validate_every=0", "train.Trainer.tensorboard=false")  # fmt: skip
# What ours leaves out to be of one kind with another's network: they are compared once more so.
ALIKE = {"azula": ("network.UNet.attention=[]",)}
BATCHES = {"small": 16, "large": 8}
PICTURES = 200  # of each class


def arranged(data: Path, options: dict[str, Any], *changes: str) -> Setting:
    """A training of the recipe that has DDPM's network, on these pictures."""
    small = SMALL if options["size"] == "small" else ()
    own = [f"train.Trainer.{key}={options[key]}" for key in ("batch", "compile")]
    own.append(f"train.Trainer.precision={options['precision']!r}")
    recipe = Recipe.read("cifar10-full", [f"domain.Images.root={str(data)!r}", *small, *PLAIN, *own, *changes])
    return assemble(recipe, options["device"], _quiet)


def twin(setting: Setting, device: str) -> Any:
    """diffusers' network with the configuration and weights of ours."""
    from diffusers import UNet2DModel

    network: Any = setting.model.denoiser.network
    config, weights = diffusers.dump(network)
    made = UNet2DModel.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    made.load_state_dict(weights)
    return made.to(device)


def flops(run: Callable[[], object]) -> int:
    """Multiplications and additions of matrices and convolutions; attention is laid open, which its kernel is not."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def one_step(setting: Setting, device: str) -> Callable[[], object]:
    """Forward and backward of ours, for its arithmetic to be counted."""
    rows = torch.arange(setting.trainer.batch)
    rng = Rng(0, rows, device)
    batch: dict[str, Tensor] = {key: value.to(device) for key, value in setting.data.batch(rows).items()}
    model = setting.model.denoiser.to(device).train()
    return lambda: setting.objective(model, setting.prepare(batch, rng), rng).mean().backward()


def in_turn(setting: Setting, others: dict[str, Callable[[], object]], options: dict[str, Any], rounds: int) -> Turns:
    turns = Turns(others, rounds, int(options["block"]), options["device"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit = setting.trainer.fit
            fit(setting.model.denoiser, setting.objective, setting.data, folder, prepare=setting.prepare, hooks=[turns],
                device=setting.on, say=_quiet)  # fmt: skip
        except Enough:
            pass
    return turns


def update(setting: Setting, rounds: int, device: str, shrink: float) -> dict[str, Any]:
    """Clipping, optimiser and average alone: ours, diffusers' example's, and the plainest way.

    The same gradients stay, and round k brings them down to a norm of shrink^k: with 1 the first round alone has anything to
    bring down, as in most steps of a training; with less every one has.
    """
    from diffusers.training_utils import EMAModel

    def weights() -> Any:
        made = twin(setting, device)
        for weight in made.parameters():
            weight.grad = torch.full_like(weight, 1e-3)
        return made

    mine, yours, plain = weights(), weights(), weights()
    limits = {who: (shrink**k for k in itertools.count()) for who in ("ours", "theirs", "naive")}
    learner = Learner(mine, betas=(0.95, 0.999), weight_decay=1e-6, clip=1.0, ema=0.9999, ema_warmup=0.05)
    loss = torch.zeros((), device=device)
    optimizer = torch.optim.AdamW(yours.parameters(), 1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    average = EMAModel(yours.parameters(), decay=0.9999, use_ema_warmup=True, power=0.75)

    def ours() -> None:
        learner.clip = next(limits["ours"])
        learner.update(1, loss, 1e-4)

    def theirs() -> None:
        torch.nn.utils.clip_grad_norm_(yours.parameters(), next(limits["theirs"]))
        optimizer.step()
        average.step(yours.parameters())

    slow = torch.optim.AdamW(plain.parameters(), 1e-4, foreach=False, fused=False)
    copies = [weight.detach().clone() for weight in plain.parameters()]

    def naive() -> None:
        most = next(limits["naive"])
        norm = sum(float(weight.grad.square().sum()) for weight in plain.parameters()) ** 0.5
        for weight in plain.parameters():
            weight.grad *= min(1.0, most / norm)
        slow.step()
        for copy, weight in zip(copies, plain.parameters(), strict=True):
            copy.copy_(0.9999 * copy + 0.0001 * weight.detach())

    compared = pairs(ours, theirs, rounds, device)
    return {"goal": GOALS["update"], **compared, "naive instead of ours": pairs(naive, theirs, rounds, device)}


def peak(device: str, dtype: torch.dtype, n: int = 2048) -> tuple[float, float]:
    """Billions of operations a second that products of matrices reach here, by the clock and the process: the median of 11."""
    a = torch.randn(n, n, device=device, dtype=dtype)
    taken = []
    for _ in range(13):
        began = now(device)
        a @ a
        taken.append(since(began, device))
    clock, used = (round(2 * n**3 / statistics.median(column) / 1e9, 1) for column in zip(*taken[2:], strict=True))
    return clock, used


def beside(turns: Turns, name: str, counted: dict[str, int], device: str) -> dict[str, Any]:
    """Ours beside another, by the clock and by the process, also for each operation."""
    told: dict[str, Any] = {"clock": turns.beside(name, 0)} | ({"cpu": turns.beside(name, 1)} if device == "cpu" else {})
    for one in told.values():
        one["per FLOP"] = _digits(one["throughput"] * counted["ours"] / counted[name])
        one["their GFLOP/s"] = round(counted[name] / one["theirs_ms"] / 1e6, 1)
    return told


def measure(data: Path, options: dict[str, Any]) -> dict[str, Any]:
    device, rounds, batch = options["device"], int(options["rounds"]), int(options["batch"])
    setting = arranged(data, options)
    stream = batches(data, batch)
    others = {"diffusers": _loops.diffusers(twin(setting, device), stream, device, options["precision"])}
    for name in filter(None, options["others"].split(",")):
        others[name] = _loops.OTHERS[name](options["size"], stream, device)
    for step in others.values():  # the first one makes what is kept from step to step
        step()
    counted = {name: flops(run) for name, run in {"ours": one_step(setting, device), **others}.items()}
    turns = in_turn(setting, others, options, rounds)
    result: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in setting.model.denoiser.network.parameters()),
        "batch": batch, "rounds": rounds, "GFLOP a step": {who: round(n / 1e9, 1) for who, n in counted.items()},
        "matmul GFLOP/s": {"fp32": peak(device, torch.float32), "bf16": peak(device, torch.bfloat16)},
    }  # fmt: skip
    result |= {name: beside(turns, name, counted, device) for name in others}
    for name, changes in ALIKE.items():
        if name in others:
            alike = arranged(data, options, *changes)
            both = {"ours": flops(one_step(alike, device)), name: counted[name]}
            compared = beside(in_turn(alike, {name: others[name]}, options, rounds), name, both, device)
            result[name]["alike"] = {"change": changes, "GFLOP a step": round(both["ours"] / 1e9, 1), **compared}
    ours = [statistics.median(column) / turns.every for column in zip(*turns.taken["ours"][WARM:], strict=True)]
    most = result["matmul GFLOP/s"][options["precision"]]
    reached = [_digits(counted["ours"] / seconds / 1e9 / top) for seconds, top in zip(ours, most, strict=True)]
    result["ours"] = {"images_per_s": round(batch / ours[0], 2), "share of the peak": reached}
    item = arranged(data, options, "train.Trainer.micro_batch=1")
    naive = in_turn(item, {"diffusers": others["diffusers"]}, options | {"block": "1"}, 3)
    result["naive: ours item by item"] = naive.beside("diffusers", 0)
    result["update"] = update(setting, rounds, device, shrink=1.0)
    result["update, all clipped"] = update(setting, rounds, device, shrink=0.9)
    return result


def _digits(value: float) -> float:
    return round(value, 4)


def _quiet(line: str) -> None:
    pass


def main(*arguments: str) -> None:
    (data,) = (argument for argument in arguments if not argument.startswith("--"))
    options: dict[str, Any] = {"size": "small,large", "rounds": "11", "threads": "1", "batch": "", "device": "cpu", "block": "1",
                               "others": ",".join(_loops.OTHERS), "precision": "fp32", "compile": "false"}  # fmt: skip
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments if argument.startswith("--"))
    torch.set_num_threads(int(options["threads"]))
    _loops.find()
    result: dict[str, Any] = {"options": options, "goals": GOALS}
    with tempfile.TemporaryDirectory() as folder:
        root = unpacked(Path(data), Path(folder), PICTURES)
        for size in options["size"].split(","):
            own = {"size": size, "batch": options["batch"] or BATCHES[size]} | ({} if size == "small" else {"others": ""})
            result[size] = measure(root, options | own)
            print(size, json.dumps(result[size]), file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
