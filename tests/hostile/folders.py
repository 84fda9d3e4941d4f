"""safetensors files, directories of diffusers and runs that are not what they seem."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from unnoise.network import UNet
from unnoise.zoo import diffusers

from .archives import RUN, Reduced, raw

Maker = Callable[[Path], Path]
STEM = "diffusion_pytorch_model"


def tensors(header: Mapping[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> Maker:
    """A safetensors file of this header, in a directory of diffusers."""
    body = header if isinstance(header, bytes) else json.dumps(header).encode()

    def make(folder: Path) -> Path:
        directory(folder)
        (folder / f"{STEM}.safetensors").write_bytes(struct.pack("<Q", len(body) if length is None else length) + body + data)
        return folder

    return make


def entry(shape: list[Any], span: list[Any], dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": span}


def nan() -> bytes:
    return struct.pack("<f", float("nan"))


HEADERS = {
    "header of 2^63 bytes": tensors(b"{}", length=1 << 63),
    "header beyond the file": tensors(b"{}", length=1000),
    "header of 100 MB": tensors(b" " * 100, bytes(1000), 100 << 20),
    "header cut": tensors(b'{"a": {"dtype"', b"", 14),
    "header no object": tensors(b"[1, 2, 3]"),
    "header nested": tensors(b"[" * 200_000 + b"]" * 200_000),
    "header of many values": tensors(b'{"a":[' + b"[]," * 600_000 + b"[]]}"),
    "a name twice": tensors(b'{"a":%s,"a":%s}' % ((json.dumps(entry([2], [0, 8])).encode(),) * 2), bytes(8)),
    "tensors upon each other": tensors({"a": entry([4], [0, 16]), "b": entry([4], [8, 24])}, bytes(24)),
    "a gap": tensors({"a": entry([2], [0, 8]), "b": entry([2], [16, 24])}, bytes(24)),
    "beyond the end": tensors({"a": entry([1 << 20], [0, 1 << 22])}, bytes(16)),
    "a shape of 10^18": tensors({"a": entry([10**9, 10**9], [0, 16])}, bytes(16)),
    "a negative side": tensors({"a": entry([-2, -2], [0, 16])}, bytes(16)),
    "a side of 1.5": tensors({"a": entry([1.5], [0, 6])}, bytes(6)),
    "an unknown type": tensors({"a": entry([4], [0, 16], "F33")}, bytes(16)),
    "a wrong type": tensors({"a": entry([4], [0, 16], "F64")}, bytes(16)),
    "a type that is a list": tensors({"a": entry([4], [0, 16], ["F32"])}, bytes(16)),
    "offsets the wrong way": tensors({"a": entry([4], [16, 0])}, bytes(16)),
    "values cut": tensors({"a": entry([4], [0, 16])}, bytes(9)),
    "values too many": tensors({"a": entry([4], [0, 16])}, bytes(99)),
    "NaN in it": tensors({"a": entry([2], [0, 8])}, nan() + bytes(4)),
    "an empty file": lambda folder: (directory(folder), (folder / f"{STEM}.safetensors").write_bytes(b""), folder)[2],
}


def directory(folder: Path, config: Mapping[str, Any] | None = None, weights: bool = False, **files: object) -> Path:
    """A network alone, with what is to be wrong with it."""
    right, tensors = diffusers.dump(UNet((1, 8, 8), width=8, multipliers=(1,), blocks=1, groups=4, head_width=4,
                                         features="sin cos"))  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**right, **(config or {})}))
    if weights:
        save_file(tensors, folder / f"{STEM}.safetensors")
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def configured(**config: Any) -> Maker:
    return lambda folder: directory(folder, config, weights=True)


def pipeline(index: Mapping[str, Any], scheduler: Mapping[str, Any] | None = None) -> Maker:
    right = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    files = {
        "model_index.json": {**right, **index},
        "scheduler_config.json": {"_class_name": "DDPMScheduler", **(scheduler or {})},
    }
    return lambda folder: directory(folder, weights=True, **files)


def written(name: str, text: str) -> Maker:
    def make(folder: Path) -> Path:
        directory(folder, weights=True)
        (folder / name).write_text(text)
        return folder

    return make


def shards(place: str, link: bool = False) -> Maker:
    """Weights in several files, one of which is elsewhere."""

    def make(folder: Path) -> Path:
        inner, outside = folder / "model", folder / "secret.safetensors"
        inner.mkdir()
        directory(inner)
        save_file({"secret": torch.ones(4)}, outside)
        name = place.replace("OUTSIDE", str(outside))
        if link:
            os.symlink(outside, inner / name)
        (inner / f"{STEM}.safetensors.index.json").write_text(json.dumps({"weight_map": {"secret": name}}))
        return inner

    return make


def linked(name: str) -> Maker:
    """A file of the directory that is a link to one outside."""

    def make(folder: Path) -> Path:
        inner = folder / "model"
        inner.mkdir()
        directory(inner, weights=True)
        target = folder / "outside"
        target.write_bytes((inner / name).read_bytes())
        (inner / name).unlink()
        os.symlink(target, inner / name)
        return inner

    return make


def endless(folder: Path) -> Path:
    directory(folder)
    os.symlink("/dev/zero", folder / f"{STEM}.safetensors")
    return folder


def pickled(folder: Path) -> Path:
    directory(folder)
    return raw(f"{STEM}.bin", Reduced(exec, RUN))(folder).parent


FOLDERS = {
    "a class path in the index": pipeline({"unet": ["os", "system"]}),
    "a pipeline of its own": pipeline({"_class_name": ["pipeline", "Mine"]}),
    "more parts in the index": pipeline({"safety": ["hostile_module", "thing"]}),
    "a class path in the network": configured(_class_name="os.system"),
    "a class path in the scheduler": pipeline({}, {"_class_name": "hostile_module.thing"}),
    "10^9 steps": pipeline({}, {"num_train_timesteps": 10**9}),
    "betas that are NaN": pipeline({}, {"trained_betas": [float("nan")] * 10}),
    "betas above 1": pipeline({}, {"beta_end": 1e9}),
    "a width of 10^9": configured(block_out_channels=[10**9]),
    "a negative width": configured(block_out_channels=[-8]),
    "10^6 layers": configured(layers_per_block=10**6),
    "a million levels": configured(block_out_channels=[8] * 10**5, down_block_types=["DownBlock2D"] * 10**5),
    "10^9 classes": configured(num_class_embeds=10**9),
    "pictures of 10^12 pixels": configured(sample_size=10**12),
    "a number of 4000 digits": written("config.json", '{"layers_per_block": 1' + "0" * 4000 + "}"),
    "a number too long": written("config.json", '{"layers_per_block": 1' + "0" * 9000 + "}"),
    "text for a number": configured(layers_per_block="import os"),
    "a table for a number": configured(block_out_channels={"a": 1}),
    "null for a number": configured(norm_num_groups=None, in_channels=None),
    "no groups": configured(norm_num_groups=0),
    "an unknown option": configured(code="import os"),
    "nested JSON": written("config.json", '{"a":' * 50_000 + "1" + "}" * 50_000),
    "a key twice": written("config.json", '{"layers_per_block": 1, "layers_per_block": 2}'),
    "a megabyte of lists": written("config.json", '{"a": [' + "[]," * 300_000 + "[]]}"),
    "no JSON": written("config.json", RUN),
    "a shard above": shards("../secret.safetensors"),
    "a shard by its path": shards("OUTSIDE"),
    "a shard by a link": shards("part.safetensors", link=True),
    "a shard that is a pickle": shards("part.bin"),
    "weights by a link": linked(f"{STEM}.safetensors"),
    "a configuration by a link": linked("config.json"),
    "weights without end": endless,
    "a pickle in place of weights": pickled,
    "weights of another shape": configured(block_out_channels=[16]),
}


def run(recipe: str = "", facts: str = "", weights: Mapping[str, torch.Tensor] | None = None) -> Maker:
    """A run folder of ours; `recipe` is added to a right one, or takes the place of its network."""

    def make(folder: Path) -> Path:
        network = "" if "[network" in recipe else "[network.UNet]\nwidth = 8\nblocks = 1\nmultipliers = [1]\n"
        schedule = "" if "schedule" in recipe else 'schedule = "VP"\n'
        head = "" if recipe.startswith("!") else f'prediction = "v"\n{schedule}'
        right = f'{head}{recipe.lstrip("!")}\n[domain.Images]\nroot = "none"\n{network}'
        (folder / "recipe.toml").write_text(right)
        shape = {"shape": [1, 8, 8], "depth": "uint8", "range": [0, 255], "channels": "grey", "conds": {}, "table": {}}
        (folder / "data.json").write_text(facts or json.dumps(shape))
        save_file(dict(weights or {"network.stem.weight": torch.ones(8, 1, 3, 3)}), folder / "weights.safetensors")
        return folder

    return make


def described(**facts: Any) -> str:
    return json.dumps(
        {"shape": [1, 8, 8], "depth": "uint8", "range": [0, 255], "channels": "grey", "conds": {}, "table": {}} | facts
    )


RUNS = {
    "code from outside as network": run('[network."hostile_module:Network"]'),
    "code from outside as sampler": run('[sampler."hostile_module:thing"]'),
    "code from outside as a key": run('[loss.Denoising]\nweight = "hostile_module:thing"'),
    "a run elsewhere": run('[guidance.Auto]\nrun = "/etc"'),
    "a network of 10^9": run("[network.UNet]\nwidth = 1_000_000_000"),
    "a network of 10^6 layers": run("[network.UNet]\nblocks = 1_000_000"),
    "a transformer of 10^6 blocks": run("[network.DiT]\ndepth = 1_000_000\nwidth = 8\nheads = 1"),
    "a schedule of 10^9": run("[schedule.CosineBetas]\nsteps = 1_000_000_000"),
    "a schedule in a schedule": run("[schedule.ZeroSNR]\nschedule.LinearBetas.steps = 1_000_000_000"),
    "nested TOML": run("!a = " + "[" * 20_000 + "]" * 20_000),
    "a megabyte of TOML": run("!" + "a = 1\n" * 300_000),
    "nested facts": run(facts='{"shape":' + "[" * 50_000 + "]" * 50_000 + "}"),
    "facts of many values": run(facts='{"shape": [' + "[]," * 2_000_000 + "[]]}"),
    "facts of another kind": run(facts=described(conds=["label"])),
    "pictures of no size": run(facts=described(shape=["a", 8, 8])),
    "weights of NaN": run(weights={"network.stem.weight": torch.full((8, 1, 3, 3), torch.nan)}),
    "weights of another network": run(weights={"other": torch.ones(3)}),
}
