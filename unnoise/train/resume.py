"""What may change between the two halves of a run, and what must not."""

import json
from collections.abc import Collection, Mapping
from typing import Any

# Options that do not change what is learnt, only for how long, how often it is told, and what it costs the machine.
SAFE = frozenset(
    f"train.Trainer.{name}"
    for name in (
        "steps", "keep", "ema_snapshots", "save_every", "log_every", "preview_every", "validate_every", "health_every",
        "micro_batch", "compile", "channels_last", "tensorboard", "shard", "patience", "rollbacks", "rollback_rate",
    )
)  # fmt: skip


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON gives them back (tuples become lists, paths text), so that stored and new ones compare."""
    return json.loads(json.dumps(dict(options), default=str))


def compare(old: Mapping[str, Any], new: Mapping[str, Any], safe: Collection[str] = SAFE) -> list[str]:
    """Name every option that differs from the stored one.

    Args:
        safe: Keys that may change; a key stands for all below it (`sampler` for `sampler.DDIM.eta`).

    Returns:
        One line for each change that is allowed.

    Raises:
        ValueError: Others differ: each key, its old and its new value.
    """
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    told = {key: f"{key} was {_show(old, key)}, is now {_show(new, key)}" for key in keys}
    refused = [line for key, line in told.items() if not any(key == s or key.startswith(f"{s}.") for s in safe)]
    if refused:
        raise ValueError(f"other options than the run began with: {'; '.join(refused)}; restore them or use a new folder")
    return list(told.values())


def _show(options: Mapping[str, Any], key: str) -> str:
    return json.dumps(options[key]) if key in options else "not given"
