"""The configurations of all published weights, by the name of their file: nothing but data.

Sources: the flags in the read-me files of openai/guided-diffusion and openai/improved-diffusion; the training options of
NVlabs/edm; table 1 of Peebles and Xie (2023) for facebookresearch/DiT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Published(NamedTuple):
    """One file.

    Attributes:
        config: What `load` takes.
        schedule: Its noising, by the name in `unnoise.schedule`.
        steps: Of that schedule's table.
        rescale: The network is told 1000 t, rather than the index of the table.
        factor: Of an upsampler, by which it enlarges.
    """

    config: Mapping[str, Any]
    schedule: str = "LinearBetas"
    steps: int = 1000
    rescale: bool = False
    factor: int = 4


LEVELS = {32: (1, 2, 2, 2), 64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4), 512: (0.5, 1, 1, 2, 2, 4, 4)}


def _net(size: int, width: int, blocks: int, attention: tuple[int, ...], **options: Any) -> dict[str, Any]:
    return {
        "image_size": size,
        "model_channels": width,
        "out_channels": 6,
        "num_res_blocks": blocks,
        "attention_resolutions": [size // side for side in attention],
        "channel_mult": LEVELS[size],
        "use_scale_shift_norm": True,
        **options,
    }


def _adm(size: int, width: int = 256, blocks: int = 2, classes: int | None = 1000, **options: Any) -> dict[str, Any]:
    heads = {} if "num_heads" in options else {"num_head_channels": 64}
    options = {"resblock_updown": True, "num_classes": classes, **heads, **options}
    return _net(size, width, blocks, **{"attention": (32, 16, 8), **options})


def _upsampler(size: int, **options: Any) -> dict[str, Any]:
    return {**_adm(size, 192, super_resolution=True, **options), "channel_mult": LEVELS[256]}


def _classifier(size: int, blocks: int = 2) -> dict[str, Any]:
    head = {"out_channels": 1000, "num_head_channels": 64, "resblock_updown": True, "pool": "attention"}
    return _net(size, 128, blocks, (32, 16, 8), **head)


def _improved(size: int, width: int = 128, blocks: int = 3, **options: Any) -> dict[str, Any]:
    return _net(size, width, blocks, **{"attention": (16, 8), "num_heads": 4, **options})


_BEDROOM = _improved(256, blocks=2, num_heads=1, use_scale_shift_norm=False, attention=(16,))
_LSUN = Published(_adm(256, classes=None, dropout=0.1))

GUIDED: dict[str, Published] = {
    "64x64_classifier": Published(_classifier(64, 4), "CosineBetas"),
    "64x64_diffusion": Published(_adm(64, 192, 3, dropout=0.1, use_new_attention_order=True), "CosineBetas"),
    "128x128_classifier": Published(_classifier(128)),
    "128x128_diffusion": Published(_adm(128, num_heads=4)),
    "256x256_classifier": Published(_classifier(256)),
    "256x256_diffusion": Published(_adm(256)),
    "256x256_diffusion_uncond": Published(_adm(256, classes=None)),
    "512x512_classifier": Published(_classifier(512)),
    "512x512_diffusion": Published(_adm(512)),
    "64_256_upsampler": Published(_upsampler(256, num_heads=4)),
    "128_512_upsampler": Published(_upsampler(512, attention=(32, 16))),
    "lsun_bedroom": _LSUN,
    "lsun_cat": _LSUN,
    "lsun_horse": _LSUN,
    "lsun_horse_nodropout": Published(_adm(256, classes=None)),
    "imagenet64_uncond_100M_1500K": Published(_improved(64), "CosineBetas", 4000, rescale=True),
    "imagenet64_uncond_vlb_100M_1500K": Published(_improved(64), "CosineBetas", 4000, rescale=True),
    "imagenet64_cond_270M_250K": Published(_improved(64, 192, num_classes=1000), "CosineBetas", 4000),
    "cifar10_uncond_50M_500K": Published(_improved(32, dropout=0.3), "CosineBetas", 4000, rescale=True),
    "cifar10_uncond_vlb_50M_500K": Published(_improved(32, dropout=0.3), "CosineBetas", 4000, rescale=True),
    "upsample_cond_500K": Published(_improved(256, 192, 2, num_classes=1000, super_resolution=True), "LinearBetas", 4000),
    "lsun_uncond_100M_1200K_bs128": Published(_BEDROOM),
    "lsun_uncond_100M_2400K_bs64": Published(_BEDROOM),
}


def _song(size: int, way: str, classes: int = 0) -> dict[str, Any]:
    """VP is the network DDPM++, VE is NCSN++."""
    ve = {"embedding_type": "fourier", "encoder_type": "residual", "channel_mult_noise": 2, "resample_filter": [1, 3, 3, 1]}
    vp = {"embedding_type": "positional", "encoder_type": "standard", "channel_mult_noise": 1, "resample_filter": [1, 1]}
    return {
        "model_type": "SongUNet",
        "img_resolution": size,
        "img_channels": 3,
        "label_dim": classes,
        "augment_dim": 9,
        "model_channels": 128,
        "channel_mult": [2, 2, 2] if size == 32 else [1, 2, 2, 2],
        "dropout": {32: 0.13}.get(size, 0.05),
        **(ve if way == "ve" else vp),
    }


_IMAGENET = {"model_type": "DhariwalUNet", "img_resolution": 64, "img_channels": 3, "label_dim": 1000, "dropout": 0.1}

EDM: dict[str, Published] = {
    **{
        f"edm-cifar10-32x32-{kind}cond-{way}": Published(_song(32, way, classes), "EDM")
        for kind, classes in (("", 10), ("un", 0))
        for way in ("vp", "ve")
    },
    "edm-ffhq-64x64-uncond-vp": Published(_song(64, "vp"), "EDM"),
    "edm-ffhq-64x64-uncond-ve": Published(_song(64, "ve"), "EDM"),
    "edm-afhqv2-64x64-uncond-vp": Published({**_song(64, "vp"), "dropout": 0.25}, "EDM"),
    "edm-afhqv2-64x64-uncond-ve": Published({**_song(64, "ve"), "dropout": 0.25}, "EDM"),
    "edm-imagenet-64x64-cond-adm": Published(_IMAGENET, "EDM"),
}


def _dit(size: int, patch: int, width: int = 1152, depth: int = 28, heads: int = 16) -> dict[str, Any]:
    return {"input_size": size, "patch_size": patch, "hidden_size": width, "depth": depth, "num_heads": heads}


SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}

DIT: dict[str, Published] = {
    **{f"DiT-{size}/{patch}": Published(_dit(32, patch, *SIZES[size])) for size in SIZES for patch in (2, 4, 8)},
    "DiT-XL-2-256x256": Published(_dit(32, 2)),
    "DiT-XL-2-512x512": Published(_dit(64, 2)),
}
