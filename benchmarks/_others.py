"""The others of the speed run: their loops with networks of the size of ours, and their own ways to sample."""

from __future__ import annotations

import inspect
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks import _loops
from benchmarks._budgets import Distance, Program, Trained, clock
from benchmarks._loops import RATE
from unnoise.domain import Images
from unnoise.train import read_weights, write_weights

SHAPE, BATCH, BLOCK, EVALUATIONS, TRIED = (3, 32, 32), 16, 50, 50, 50
WIDTHS = (32, 64, 96, 96)  # of diffusers' network; its norms have groups of 32
SIZE = "speed"
_loops.WIDTHS[SIZE] = (16, (1, 2, 4, 8))  # of lucidrains' network: the multipliers are its own


class Other(Program):
    """A loop of others at its own rate, or at another."""

    samplers: tuple[str, ...] = ("DDIM",)

    def __init__(self, name: str, rate: float = RATE) -> None:
        self.name, self.rate = name, rate

    def learn(self, data: Path, wanted: list[Trained], device: str) -> None:
        _loops.find()
        torch.manual_seed(0)
        network = self.network().to(device)
        with patch.object(_loops, "RATE", self.rate):
            step = self.loop(network, pictures(data), device)
        began, steps = clock(device), 0
        for one in wanted:
            while clock(device) - began < 60 * one.minutes:
                step()
                steps += 1
            for name, weights in self.weights(dict(inspect.getclosurevars(step).nonlocals)).items():
                one.folder.mkdir(parents=True, exist_ok=True)
                write_weights(one.folder / f"{name}.safetensors", {k: v.detach().cpu().clone() for k, v in weights.items()}, {})
            weights = sum(weight.numel() for weight in network.parameters())
            one.tell(seconds=round(clock(device) - began, 1), steps=steps, pictures_seen=steps * BATCH, parameters=weights)

    def sampled(self, folder: Path, n: int, device: str, distance: Distance) -> tuple[Tensor, dict[str, Any]]:
        """From the better of its weights by the better of its samplers, as a few samples of the longest training tell."""
        _loops.find()
        chosen = folder.parent / f"{self.name}.json"
        if not chosen.exists():
            ways = [(weights, self.samplers[0]) for weights in ("raw", "average")]
            ways += [("average", sampler) for sampler in self.samplers[1:]]
            tried = {f"{w}, {s}": distance(self.made(folder, w, s, TRIED, device)) for w, s in ways}
            chosen.write_text(json.dumps(tried))
        tried = json.loads(chosen.read_text())
        weights, sampler = min(tried, key=tried.__getitem__).split(", ")
        how = {"evaluations": EVALUATIONS, "weights": weights, "sampler": sampler, "tried": tried, "rate": self.rate}
        return self.made(folder, weights, sampler, n, device), how

    @torch.no_grad()
    def made(self, folder: Path, weights: str, sampler: str, n: int, device: str) -> Tensor:
        network = self.network().to(device)
        network.load_state_dict({k: v.to(device) for k, v in read_weights(folder / f"{weights}.safetensors")[0].items()})
        torch.manual_seed(1)
        parts = [self.walk(network.eval(), sampler, len(rows), device).cpu() for rows in torch.arange(n).split(BLOCK)]
        return torch.cat(parts)

    @abstractmethod
    def network(self) -> Any: ...

    @abstractmethod
    def loop(self, network: Any, batches: Iterator[Tensor], device: str) -> Callable[[], object]: ...

    @abstractmethod
    def weights(self, parts: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
        """The network's own and their average, from the parts of the loop."""

    @abstractmethod
    def walk(self, network: Any, sampler: str, n: int, device: str) -> Tensor: ...


class Diffusers(Other):
    """Its example of unconditional training."""

    samplers = ("DDIM", "DPMSolverMultistep")

    def network(self) -> Any:
        from diffusers import UNet2DModel

        attended = [f"{'Attn' if level == 2 else ''}{{}}Block2D" for level in range(len(WIDTHS))]
        down, up = ([name.format(way) for name in order] for way, order in (("Down", attended), ("Up", attended[::-1])))
        return UNet2DModel(32, block_out_channels=WIDTHS, layers_per_block=1, down_block_types=down, up_block_types=up)

    def loop(self, network: Any, batches: Iterator[Tensor], device: str) -> Callable[[], object]:
        return _loops.diffusers(network, batches, device)

    def weights(self, parts: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
        network, average = parts["network"], parts["average"]
        raw = {name: weight.clone() for name, weight in network.state_dict().items()}
        average.store(network.parameters())
        average.copy_to(network.parameters())
        averaged = {name: weight.clone() for name, weight in network.state_dict().items()}
        average.restore(network.parameters())
        return {"raw": raw, "average": averaged}

    def walk(self, network: Any, sampler: str, n: int, device: str) -> Tensor:
        import diffusers

        noising: Any = diffusers.DDPMScheduler(num_train_timesteps=_loops.T)
        scheduler = getattr(diffusers, f"{sampler}Scheduler").from_config(noising.config)
        scheduler.set_timesteps(EVALUATIONS)
        x = torch.randn(n, *SHAPE, device=device)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
        return x


class Lucidrains(Other):
    """denoising-diffusion-pytorch."""

    def network(self) -> Any:
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet

        width, multipliers = _loops.WIDTHS[SIZE]
        options = {"image_size": SHAPE[-1], "timesteps": _loops.T, "sampling_timesteps": EVALUATIONS}
        return GaussianDiffusion(Unet(dim=width, dim_mults=multipliers), **options)

    def loop(self, network: Any, batches: Iterator[Tensor], device: str) -> Callable[[], object]:
        return _loops.lucidrains(SIZE, batches, device)  # which makes the same network

    def weights(self, parts: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
        return {"raw": parts["model"].state_dict(), "average": parts["average"].ema_model.state_dict()}

    def walk(self, network: Any, sampler: str, n: int, device: str) -> Tensor:
        return 2 * network.sample(batch_size=n) - 1


def pictures(data: Path) -> Iterator[Tensor]:
    """Batches without end, each picture mirrored half of the time; all are decoded now and held in memory."""
    dataset = Images(str(data), size=SHAPE[-1], conditions=()).dataset("train")
    return _shuffled((dataset.batch(torch.arange(len(dataset)))["x"] * 127.5 + 127.5).round().to(torch.uint8))


def _shuffled(levels: Tensor) -> Iterator[Tensor]:
    while True:
        for rows in torch.randperm(len(levels)).split(BATCH):
            x = levels[rows].float() / 127.5 - 1
            yield torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
