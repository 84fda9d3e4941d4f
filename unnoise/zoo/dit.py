"""Weights of DiT: facebookresearch/DiT (for non-commercial use) and `DiTTransformer2DModel` (Hugging Face diffusers, Apache-2.0).

The configuration is that of either constructor; theirs of diffusers is known by its `num_attention_heads`. `PRESETS` has the
published ones and the sizes of the paper, in the words of the former.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unnoise.network import DiT
from unnoise.nn import positions
from unnoise.zoo.links import Config, Link, Plan, Weights, build, joined, labels, refuse, same, table, take, write
from unnoise.zoo.published import DIT as PRESETS

__all__ = ["PRESETS", "dump", "dump_diffusers", "load", "make", "plan"]

PAPER = {
    "input_size": 32,
    "patch_size": 2,
    "in_channels": 4,
    "hidden_size": 1152,
    "depth": 28,
    "num_heads": 16,
    "mlp_ratio": 4.0,
    "class_dropout_prob": 0.1,
    "num_classes": 1000,
    "learn_sigma": True,
}
DIFFUSERS = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "norm_num_groups": 32,
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "upcast_attention": False,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
}


def make(config: Config, embeddings: int = 1) -> DiT:
    """The network of a configuration, without their weights. See `plan`."""
    return plan(config, embeddings).make()


def plan(config: Config, embeddings: int = 1) -> Plan:
    """The network that a configuration describes, with the condition "label"; its last row is theirs for none.

    Raises:
        ValueError: For options that do not fit.
    """
    return _theirs(config, embeddings) if "num_attention_heads" in config else _papers(config)


def load(state_dict: Weights, config: Config, own: bool = False) -> DiT:
    """The network of a state dict; `own`: its tensors are nobody else's, and need no copy.

    diffusers gives each block an embedding of its own; where all are equal, as in the published files, ours is one.

    Raises:
        ValueError: For weights or options that do not fit.
    """
    if "num_attention_heads" in config:
        return build(partial(make, config, embeddings(state_dict)), _diffusers, state_dict, own=own)
    null = config.get("class_dropout_prob", PAPER["class_dropout_prob"]) > 0
    return build(partial(make, config), partial(_facebook, null=null), state_dict, own=own)


def dump(network: DiT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the state dict for facebookresearch/DiT.

    Raises:
        ValueError: For a network that they do not have.
    """
    channels, side, classes = _square(network)
    if len(network.embeds) > 1 or network.features != "cos sin" or network.eps != (1e-6, 1e-6):
        raise ValueError("facebookresearch/DiT has one embedding of 'cos sin', and eps = 1e-6")
    config = {
        "input_size": side,
        "patch_size": network.patch,
        "in_channels": channels,
        "hidden_size": network.width,
        "depth": len(network.blocks),
        "num_heads": network.heads,
        "mlp_ratio": network.ratio,
        "class_dropout_prob": 0.1,
        "num_classes": classes,
        "learn_sigma": network.variance,
    }
    return config, write(network, _facebook(network, null=True))


def dump_diffusers(network: DiT) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the state dict for `DiTTransformer2DModel`.

    Raises:
        ValueError: For a network that they do not have.
    """
    channels, side, classes = _square(network)
    if network.features != "cos sin endpoint" or network.ratio != 4 or network.eps[0] != 1e-6:
        raise ValueError("DiTTransformer2DModel has 'cos sin endpoint' features, ratio 4, and eps = 1e-6 in its first norms")
    config = {
        "_class_name": "DiTTransformer2DModel",
        **DIFFUSERS,
        "num_attention_heads": network.heads,
        "attention_head_dim": network.width // network.heads,
        "in_channels": channels,
        "out_channels": channels * (1 + network.variance),
        "num_layers": len(network.blocks),
        "sample_size": side,
        "patch_size": network.patch,
        "num_embeds_ada_norm": classes,
        "norm_eps": network.eps[1],
    }
    return config, write(network, _diffusers(network))


def _papers(config: Config) -> Plan:
    full = take(config, PAPER, "DiT")
    keys = {
        "patch": full["patch_size"],
        "width": full["hidden_size"],
        "depth": full["depth"],
        "heads": full["num_heads"],
        "ratio": full["mlp_ratio"],
        "variance": full["learn_sigma"],
    }
    side = full["input_size"]
    return Plan(DiT, (full["in_channels"], side, side), labels(full["num_classes"]), keys)


def _theirs(config: Config, embeddings: int) -> Plan:
    full = take(config, DIFFUSERS, "DiTTransformer2DModel")
    refuse(
        full,
        dropout=0.0,
        attention_bias=True,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
    )
    channels = full["in_channels"]
    keys = {
        "patch": full["patch_size"],
        "width": full["num_attention_heads"] * full["attention_head_dim"],
        "depth": full["num_layers"],
        "heads": full["num_attention_heads"],
        "variance": full["out_channels"] == 2 * channels,
        "features": "cos sin endpoint",
        "eps": (1e-6, full["norm_eps"]),
        "embeddings": embeddings,
    }
    side = full["sample_size"]
    return Plan(DiT, (channels, side, side), labels(full["num_embeds_ada_norm"]), keys)


def embeddings(theirs: Weights) -> int:
    """1 if all blocks have the same embedding, else one for each."""
    own = [name for name in theirs if ".norm1.emb." in name]
    first = {name.partition(".norm1")[2]: theirs[name] for name in own if name.startswith("transformer_blocks.0.")}
    same_in_all = all(torch.equal(theirs[name], first.get(name.partition(".norm1")[2], theirs[name])) for name in own)
    return 1 if same_in_all or not first else len(own) // len(first)


def _square(network: DiT) -> tuple[int, int, int]:
    """Channels, side and number of classes, which is all that their networks can be told."""
    (channels, side, *others), conds = network.shape, list(network.conds.values())
    if others != [side] or side % network.patch or len(conds) != 1 or not conds[0].classes:
        raise ValueError("their networks take squares of whole patches, and one condition of classes")
    return channels, side, len(conds[0].classes)


def _facebook(network: DiT, null: bool) -> Iterator[Link]:
    yield Link("positions", ("pos_embed",), lambda p: p[0], lambda p: (p[None],))
    yield from _patches("x_embedder.proj", network)
    yield from same("embeds.0.hidden", "t_embedder.mlp.0")
    yield from same("embeds.0.out", "t_embedder.mlp.2")
    ours, theirs = "embeds.0.conditions.0.table.weight", "y_embedder.embedding_table.weight"
    yield Link(ours, (theirs,)) if null else table(ours, theirs)
    for number in range(len(network.blocks)):
        mine, their = f"blocks.{number}", f"blocks.{number}"
        yield from same(f"{mine}.steer", f"{their}.adaLN_modulation.1")
        yield from same(f"{mine}.qkv", f"{their}.attn.qkv")
        yield from same(f"{mine}.out", f"{their}.attn.proj")
        yield from same(f"{mine}.expand", f"{their}.mlp.fc1")
        yield from same(f"{mine}.contract", f"{their}.mlp.fc2")
    yield from same("steer", "final_layer.adaLN_modulation.1")
    yield from same("out", "final_layer.linear")


def _diffusers(network: DiT) -> Iterator[Link]:
    count = len(network.embeds)
    yield from _patches("pos_embed.proj", network)
    for number in range(len(network.blocks)):
        mine, their = f"blocks.{number}", f"transformer_blocks.{number}"
        emb = f"{their}.norm1.emb"
        yield from same(f"embeds.{number % count}.hidden", f"{emb}.timestep_embedder.linear_1")
        yield from same(f"embeds.{number % count}.out", f"{emb}.timestep_embedder.linear_2")
        yield Link(f"embeds.{number % count}.conditions.0.table.weight", (f"{emb}.class_embedder.embedding_table.weight",))
        yield from same(f"{mine}.steer", f"{their}.norm1.linear")
        yield from joined(f"{mine}.qkv", tuple(f"{their}.attn1.to_{name}" for name in "qkv"))
        yield from same(f"{mine}.out", f"{their}.attn1.to_out.0")
        yield from same(f"{mine}.expand", f"{their}.ff.net.0.proj")
        yield from same(f"{mine}.contract", f"{their}.ff.net.2")
    yield from same("steer", "proj_out_1")
    yield from same("out", "proj_out_2")
    # Last, when the width is known to be the file's; theirs is in single.
    yield Link("positions", (), lambda: positions(network.grid, network.width).float(), lambda p: ())


def _patches(theirs: str, network: DiT) -> Iterator[Link]:
    """The layer that reads patches: a convolution in theirs."""
    sides = (network.patch,) * len(network.grid)
    yield Link(
        "stem.weight",
        (f"{theirs}.weight",),
        lambda w: w.movedim(1, -1).flatten(1),
        lambda w: (w.unflatten(1, (*sides, -1)).movedim(-1, 1),),
    )
    yield Link("stem.bias", (f"{theirs}.bias",))
