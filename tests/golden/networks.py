"""Networks with weights of reference implementations: read by the zoo, run in float64, and walked with.

What a case is built from is its parameters, the files they name, and their configurations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise import times
from unnoise.condition import Condition
from unnoise.denoiser import Denoiser, Recogniser
from unnoise.guidance import Classifier as GuidedBy
from unnoise.guidance import Clip, Guided
from unnoise.network import Classifier, UNet
from unnoise.nn import Sinusoidal, positions
from unnoise.prediction import edm as precondition
from unnoise.prediction import eps
from unnoise.sampler import DDIM, Ancestral, Sampler
from unnoise.schedule import Discrete
from unnoise.tensor import expand
from unnoise.times import Given
from unnoise.zoo import diffusers, dit, edm, guided

from .guided import TABLES, respaced, timestep_map
from .harness import Case, Result, along, describe
from .harness import stored as given_noise
from .samplers_diffusers import table


def weights(path: Path) -> dict[str, Tensor]:
    """A state dict in float64."""
    return {name: w.double() if w.is_floating_point() else w for name, w in load_file(path).items()}


def asleep(network: nn.Module) -> Any:
    """Without dropout, and without gradients of its parameters."""
    return network.eval().requires_grad_(False)


def sinusoids(case: Case) -> dict[str, Result]:
    layer = Sinusoidal(case.params["dim"], period=case.params.get("max_period", 10_000))
    return {"emb": layer(case.inputs["t"])}


def guided_unet(case: Case) -> Mapping[str, Result]:
    if "kwargs" not in case.params:
        return sinusoids(case)
    network = asleep(guided.load(weights(case.folder / case.params["weights"]), case.params["kwargs"]))
    x, level = case.inputs["x"], case.inputs["t"].double()
    if isinstance(network, Classifier):
        return {"logits": network(x, level)}
    return {"out": network(x, level, {"label": case.inputs["y"]} if "y" in case.inputs else {})}


def classifier_guidance(case: Case) -> Mapping[str, Result]:
    """Steps and walks of the respaced chain, guided by another item's classifier in both of ADM's forms."""
    params, hyper, label = case.params, case.hyper, case.inputs["y"]
    schedule = TABLES[hyper["schedule"]](hyper["T"])
    network = asleep(guided.load(weights(case.folder / params["unet_weights"]), hyper["unet"]))
    item, file = hyper["classifier_weights_in"].split(": ")
    kwargs = next(c["params"]["kwargs"] for c in describe(case.folder, item)["cases"] if c["params"].get("weights") == file)
    recognised = asleep(guided.load(weights(case.folder / file), kwargs))
    judge = Recogniser(recognised, schedule, "label", Condition(classes=tuple(map(str, range(recognised.classes)))))
    strided = params["respacing"].startswith("ddim")
    chain = respaced(params["respacing"], schedule).values
    clipped = Guided(Denoiser(network, schedule, eps), Clip())
    told = "label" in clipped.conds  # the reference's weight comes on top of what the network knows of the label itself
    rule = GuidedBy(scale=hyper["scale"] + told, ancestral=not strided, other=judge)
    led = Guided(clipped, rule)
    sampler: Sampler = DDIM(params["eta"]) if strided else Ancestral(variance="learned")

    def end(x: Tensor) -> Tensor:
        """The last step: the reference moves even its mean at index 0, by a variance that it borrows from index 1."""
        answer = led.answer(x, chain[-1], {"label": label})
        if strided:
            return answer.x0
        t = torch.tensor([0.0, *chain[:-3:-1]], dtype=torch.float64)
        small, large = float(schedule.posterior(t[1:2], t[2:3])[2]), float(schedule.transition(t[:1], t[1:2])[1])
        assert answer.variance is not None and answer.score is not None
        return answer.x0 + small**2 * (large / small) ** (answer.variance + 1) * answer.score

    def walk(x: Tensor, visited: tuple[float, ...], noises: Any) -> Tensor:
        return sampler(led, x, Given(visited, final=True), {"label": label}, given_noise(noises))

    if "t" not in params:
        with torch.no_grad():
            x = walk(case.inputs["x_T"], chain, case.inputs["noises"])
            return {"sample": along(end(x)), "timestep_map": timestep_map(Given(chain), hyper["T"])}
    x, place = case.inputs["x"], len(chain) - 1 - params["t"]
    with torch.no_grad():
        sample = walk(x, chain[place : place + 2], [case.inputs["noise"]]) if params["t"] else end(x)
        believed = (led if strided else clipped)(x, chain[place], {"label": label})
    return {"sample": sample, "pred_xstart": believed, "grad": hyper["scale"] * rule.slope(led, x, chain[place], label)}


def saved(case: Case) -> Path:
    """The directory that an item's description names."""
    return case.folder / re.findall(r"(\w+)/", case.about["description"])[-1]


def unet2d(case: Case) -> Mapping[str, Result]:
    folder = saved(case)
    inside = folder / "unet" if (folder / "unet").exists() else folder
    config = json.loads((inside / "config.json").read_text())
    network = asleep(diffusers.load(weights(inside / "diffusion_pytorch_model.safetensors"), config))
    if "num_inference_steps" not in case.params:
        label = {"label": case.inputs["class_labels"]} if "class_labels" in case.inputs else {}
        return {"sample": network(case.inputs["x"], case.inputs["t"].double(), label)}
    return pipeline(case, network, json.loads((folder / "scheduler" / "scheduler_config.json").read_text()))


def pipeline(case: Case, network: UNet, config: Mapping[str, Any]) -> dict[str, Result]:
    """DDPM's pipeline, or with eta DDIM's on the same scheduler."""
    schedule: Discrete = table(config)
    rules = {"leading": times.Leading(config["steps_offset"]), "linspace": times.Linspace(), "trailing": times.Trailing()}
    chain = rules[config["timestep_spacing"]](schedule, case.params["num_inference_steps"])
    sampler: Sampler = Ancestral(variance=config["variance_type"].removeprefix("fixed_"))
    if "eta" in case.params:
        sampler = DDIM(case.params["eta"], raw=True)
    size = config["clip_sample_range"]
    first, *noises = case.inputs["noises"]
    with torch.no_grad():
        x = sampler(Guided(Denoiser(network, schedule, eps), Clip(-size, size)), first, chain, rng=given_noise(noises))
    images = (x / 2 + 0.5).clamp(0, 1).movedim(1, -1)
    entries = torch.tensor([round(t * len(schedule)) - 1 for t in chain])
    return {"images": along(images), "timesteps": entries}


def diffusers_dit(case: Case) -> Mapping[str, Result]:
    folder = saved(case)
    config = json.loads((folder / "config.json").read_text())
    network = asleep(dit.load(weights(folder / "diffusion_pytorch_model.safetensors"), config))
    return {"sample": network(case.inputs["x"], case.inputs["t"].double(), {"label": case.inputs["class_labels"]})}


def facebook_dit(case: Case) -> Mapping[str, Result]:
    if "dim" in case.params:
        return sinusoids(case)
    if "grid_size" in case.params:
        return {"table": positions((case.params["grid_size"],) * 2, case.params["embed_dim"])}
    network = asleep(dit.load(weights(case.folder / case.params["weights"]), case.hyper))
    x, level, label = case.inputs["x"], case.inputs["t"].double(), {"label": case.inputs["y"]}
    if "cfg_scale" not in case.params:
        return {"out": network(x, level, label)}
    # The first half of the batch stands for both, and only three channels are guided.
    out = network(x[: len(x) // 2].repeat(2, 1, 1, 1), level, label)
    cond, null = out[:, :3].chunk(2)
    return {"out": torch.cat([torch.lerp(null, cond, case.params["cfg_scale"]).repeat(2, 1, 1, 1), out[:, 3:]], 1)}


def edm_networks(case: Case) -> Mapping[str, Result]:
    network = asleep(edm.load(weights(case.folder / case.params["weights"]), case.params["kwargs"]))
    x, sigma, level = (case.inputs[name] for name in ("x", "sigma", "c_noise"))
    cond = {"augment": case.inputs["augment_labels"]} if "augment_labels" in case.inputs else {}
    if "class_labels" in case.inputs:  # one-hot; all zeros are none
        hot = case.inputs["class_labels"]
        cond["label"] = torch.where(hot.any(1), hot.argmax(1), hot.shape[1])
    c_skip, c_out, c_in = (expand(c, x) for c in precondition(torch.ones_like(sigma), sigma))
    return {"F": network(x, level, cond), "D": c_skip * x + c_out * network(c_in * x, sigma.log() / 4, cond)}
