"""When does the memorisation alarm ring? `python -m benchmarks.memorised mnist-png.tar.gz`: the same network and steps on 16
pictures and on 5,000, with the recipe's own augmentation; and the naive alarm (held-out loss above that of training items).
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path

CHANGES = [
    "domain.Images.size=16", "network.UNet.width=24", "network.UNet.multipliers=[1, 2]", "network.UNet.attention=[1]",
    "train.Trainer.steps=900", "train.Trainer.batch=16", "train.Trainer.lr=1e-3", "train.Trainer.ema=0.99",
    "train.Trainer.health_every=300", "train.Trainer.validate_every=300", "train.Trainer.preview_every=0",
    "train.Trainer.tensorboard=false", "model.Defaults.steps=12", "model.Defaults.batch=32",
]  # fmt: skip


def main(archive: str, few: str = "16", many: str = "5000") -> None:
    from unnoise.task.train import read, train

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in (int(few), int(many)):
            data, said = pictures(Path(archive), Path(folder) / f"data-{n}", n), []
            out = Path(folder) / f"run-{n}"
            train(read("pictures", data, CHANGES), out, device="cpu", report=False, say=said.append)
            rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
            losses = [{name: sum(row[name].values()) for name in ("held_out", "trained_on") if name in row} for row in rows]
            found[str(n)] = {
                "rings": [line for line in said if "ALARM" in line],
                "health": [{"step": row["step"], **row["health"]} for row in rows if "health" in row],
                "naive_rings": any(loss["held_out"] > 1.1 * loss["trained_on"] for loss in losses if "held_out" in loss),
                "words": [line for line in said if "loss" in line or "average" in line],
            }
    print(json.dumps(found))


def pictures(archive: Path, folder: Path, n: int) -> Path:
    """The first n training pictures of an archive, without their classes."""
    folder.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        kept = 0
        for member in packed:
            if member.isfile() and "train" in member.name and kept < n:
                (folder / f"{kept:05}.png").write_bytes(packed.extractfile(member).read())
                kept += 1
    return folder


if __name__ == "__main__":
    main(*sys.argv[1:])
