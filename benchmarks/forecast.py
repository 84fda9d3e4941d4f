"""What a forecast says of a training beside what that training then takes: `python -m benchmarks.forecast DATA`.

DATA holds mnist-png.tar.gz and cifar10-jpeg.tar.gz. Three recipes, shortened; each is forecast and then trained, in processes of
their own. Memory is the peak of the resident set, time that of the training without the report. The naive control forecasts
memory from the weights alone (four times their size) and time from one forward pass a step.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PREVIEW, VALIDATE = "train.Trainer.preview_every", "train.Trainer.validate_every"
SHORT = ["train.Trainer.tensorboard=false", "train.Trainer.save_every=50"]
CASES = {
    "digits": (None, ["train.Trainer.steps=400", f"{PREVIEW}=200", f"{VALIDATE}=100"]),
    "mnist": ("mnist-png.tar.gz", ["train.Trainer.steps=60", f"{PREVIEW}=30", f"{VALIDATE}=30"]),
    "cifar10": ("cifar10-jpeg.tar.gz", ["train.Trainer.steps=50", f"{PREVIEW}=0", f"{VALIDATE}=25"]),
}
CHILD = """
import json, sys, time
from pathlib import Path
from unnoise.task.check.measure import _peak
from unnoise.task.train import read, train
import torch
name, data, out, *changes = sys.argv[1:]
recipe = read(name, Path(data) if data else None, changes)
began = time.perf_counter()
train(recipe, Path(out), device="cpu", report=False, say=lambda line: None)
print(json.dumps({"seconds": time.perf_counter() - began, "memory": _peak(torch.device("cpu"))}))
"""


def main(data: str) -> None:
    from unnoise.task.check import forecast
    from unnoise.task.train import read

    rows = {}
    for name, (file, changes) in CASES.items():
        root = str(Path(data) / file) if file else ""
        said = forecast(read(name, Path(root) if root else None, [*SHORT, *changes]), "cpu")
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-c", CHILD, name, root, f"{out}/run", *SHORT, *changes]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            disk = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
        took = json.loads(done.stdout.splitlines()[-1])
        rows[name] = {
            "seconds": {"forecast": said.seconds, "measured": took["seconds"], "ratio": said.seconds / took["seconds"]},
            "memory": {"forecast": said.memory, "measured": took["memory"], "ratio": said.memory / took["memory"]},
            "disk": {"forecast": said.disk, "measured": disk, "ratio": said.disk / disk},
            "naive_ratio": {
                "memory": 16 * said.parameters / took["memory"],
                "seconds": said.steps * (said.seconds_per_step or 0) / 3 / took["seconds"],
            },
            "seconds_per_step": said.seconds_per_step,
            "beside": said.beside,
        }
    print(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
