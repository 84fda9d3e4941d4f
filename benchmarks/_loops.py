"""The training loops of others, each a function of no arguments that makes a whole step: data, loss, gradients, update, average.

Written from what their documentation, examples and signatures say, with their own networks, losses, optimisers and averages;
where a library has no average, torch's is taken. Folders with them may be named in UNNOISE_PEERS, separated as in PYTHONPATH.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.overhead import stand_in

Step = Callable[[], object]
Batches = Iterator[Tensor]
RATE, DECAY, CLIP, T = 1e-4, 0.9999, 1.0, 1000
WIDTHS = {"small": (64, (1, 2, 2)), "large": (128, (1, 2, 2, 2))}


def find() -> None:
    """Makes the libraries importable; what they import and never use here is stood in for."""
    sys.path += [path for path in os.environ.get("UNNOISE_PEERS", "").split(os.pathsep) if path and path not in sys.path]
    os.environ["TQDM_DISABLE"] = "1"
    stand_in()
    for name in ("torchvision.transforms", "torchvision.utils"):
        sys.modules[name] = MagicMock()
        setattr(sys.modules["torchvision"], name.split(".")[1], sys.modules[name])


def diffusers(network: Any, batches: Batches, device: str, precision: str = "fp32") -> Step:
    """Of diffusers' example of unconditional training with its defaults, with averaging and on one device."""
    from accelerate import Accelerator
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")
    noising: Any = DDPMScheduler(num_train_timesteps=T, beta_schedule="linear")
    optimizer = torch.optim.AdamW(network.parameters(), RATE, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rates = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=100_000)
    options: Any = {"decay": DECAY, "use_ema_warmup": True, "inv_gamma": 1.0, "power": 0.75}
    average = EMAModel(network.parameters(), **options, model_cls=UNet2DModel, model_config=network.config)
    average.to(device)
    network, optimizer, rates = accelerator.prepare(network.train(), optimizer, rates)

    def step() -> float:
        x = next(batches).to(device)
        eps, t = torch.randn_like(x), torch.randint(0, T, (len(x),), device=device)
        with accelerator.accumulate(network):
            told = network(noising.add_noise(x, eps, t), t).sample
            loss = F.mse_loss(told.float(), eps.float())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
        average.step(network.parameters())
        return loss.detach().item()

    return step


def lucidrains(size: str, batches: Batches, device: str) -> Step:
    """denoising-diffusion-pytorch: the loop of its Trainer."""
    from accelerate import Accelerator
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    width, multipliers = WIDTHS[size]
    accelerator = Accelerator(cpu=device == "cpu")
    model = GaussianDiffusion(Unet(dim=width, dim_mults=multipliers), image_size=32, timesteps=T).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(0.9, 0.99))
    average = EMA(model, beta=0.995, update_every=10).to(device)
    model, optimizer = accelerator.prepare(model, optimizer)

    def step() -> float:
        model.train()
        loss = model((next(batches).to(device) + 1) / 2)
        told = loss.item()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        return told

    return step


def azula(size: str, batches: Batches, device: str) -> Step:
    from azula.denoise import KarrasDenoiser
    from azula.nn.layers import SineEncoding
    from azula.nn.unet import UNet
    from azula.noise import VPSchedule

    width, multipliers = WIDTHS[size]
    channels = [width * factor for factor in multipliers]

    class Timed(nn.Module):
        """Its U-Net is modulated by a vector; here of the noise level."""

        def __init__(self) -> None:
            super().__init__()
            self.encode = SineEncoding(4 * width)
            self.unet = UNet(3, 3, hid_channels=channels, hid_blocks=[2] * len(channels), norm="group", mod_features=4 * width)

        def forward(self, x: Tensor, level: Tensor) -> Tensor:
            return self.unet(x, self.encode(level))

    model = KarrasDenoiser(Timed(), VPSchedule()).to(device).train()
    return _plain(model, lambda x: model.loss(x, torch.rand(len(x), device=device)), batches, device)


def smalldiffusion(size: str, batches: Batches, device: str) -> Step:
    """Its own training loop, a generator that stops between loss and gradients."""
    from accelerate import Accelerator
    from smalldiffusion.diffusion import ScheduleDDPM, training_loop
    from smalldiffusion.model_unet import Unet

    width, multipliers = WIDTHS[size]
    model = Unet(32, 3, 3, ch=width, ch_mult=multipliers, attn_resolutions=(16,), dropout=0.0).to(device)
    average = _average(model)

    class Endless:
        def __iter__(self) -> Iterator[Tensor]:
            return (x.to(device) for x in batches)

    steps = training_loop(Endless(), model, ScheduleDDPM(T), Accelerator(cpu=device == "cpu"), lr=RATE)

    def step() -> None:
        next(steps)
        average.update_parameters(model)

    return step


def k_diffusion(size: str, batches: Batches, device: str) -> Step:
    from k_diffusion.layers import Denoiser
    from k_diffusion.models.image_v1 import ImageDenoiserModelV1
    from k_diffusion.utils import ema_update, rand_log_normal

    width, multipliers = WIDTHS[size]
    channels = [width * factor for factor in multipliers]
    attended = [level == 1 for level in range(len(channels))]
    model = Denoiser(ImageDenoiserModelV1(3, 4 * width, [2] * len(channels), channels, attended)).to(device).train()
    average = Denoiser(ImageDenoiserModelV1(3, 4 * width, [2] * len(channels), channels, attended)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.95, 0.999), eps=1e-6, weight_decay=1e-3)

    def step() -> float:
        x = next(batches).to(device)
        loss = model.loss(x, torch.randn_like(x), rand_log_normal((len(x),), -1.2, 1.2, device)).mean()
        loss.backward()
        clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            ema_update(model, average, DECAY)
        return loss.item()

    return step


def _plain(model: nn.Module, loss_of: Callable[[Tensor], Tensor], batches: Batches, device: str) -> Step:
    """A loop as one writes it oneself."""
    optimizer, average = torch.optim.AdamW(model.parameters(), RATE), _average(model)

    def step() -> float:
        loss = loss_of(next(batches).to(device))
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        average.update_parameters(model)
        return loss.item()

    return step


def _average(model: nn.Module) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))


OTHERS: dict[str, Callable[[str, Batches, str], Step]] = {
    "lucidrains": lucidrains,
    "azula": azula,
    "smalldiffusion": smalldiffusion,
    "k-diffusion": k_diffusion,
}
