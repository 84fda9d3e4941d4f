"""From a folder of pictures to batches: ours beside Hugging Face's `datasets` and a data set that opens each file anew.

    python -m benchmarks loader DATA [--batch=128] [--most=0] [--others=datasets,folder]

DATA is an archive of pictures in train/CLASS/ (`cifar10-jpeg.tar.gz`; `--most` of each class, 0: all) or a folder of such. Each
start is a process of its own, timed from the moment everything is imported to the first batch: the first start builds the cache
(ours and that of `datasets` are empty; the file system's is warm), the second finds it. Then come batches, one after the other in
shuffled order, and for ours three epochs, with the memory that the process holds after each. `datasets` may lie in a folder named
in UNNOISE_PEERS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks._folder import Folder, as_tensor, batches, unpacked

GOALS = {"first start": 0.35, "second start": 0.02, "read rate": 15.0}
READ = 40  # batches that are timed, of those that read files
EPOCHS = 3
Opened = tuple[Iterator[Tensor], int]  # batches without end, and how many items there are


def ours(root: Path, batch: int) -> Opened:
    import torch

    from unnoise.domain import Images
    from unnoise.tensor import Rng
    from unnoise.train.batches import Order

    dataset = Images(str(root), flip=True, held_out=0.0).dataset()
    order = Order(len(dataset), batch, 0)

    def stream() -> Iterator[Tensor]:
        step = 0
        while step := step + 1:
            yield dataset.batch(order.indices(step), Rng(0, torch.arange(batch)).at(step))["x"]

    return stream(), len(dataset)


def tables(root: Path, batch: int) -> Opened:
    """`datasets` as diffusers' example uses it: pictures are decoded by a transform whenever they are asked for."""
    import datasets
    from torch.utils.data import DataLoader

    datasets.disable_progress_bars()
    found = datasets.load_dataset("imagefolder", data_dir=str(root), split="train")
    found.set_transform(lambda rows: {"x": [as_tensor(image) for image in rows["image"]]})
    loader = DataLoader(found, batch, shuffle=True)
    return (drawn["x"] for _ in iter(int, 1) for drawn in loader), len(found)


def folder(root: Path, batch: int, workers: int = 0) -> Opened:
    return batches(root, batch, workers), len(Folder(root))


KINDS: dict[str, Callable[[Path, int], Opened]] = {
    "unnoise": ours,
    "datasets": tables,
    "folder": folder,
    "folder, 2 workers": lambda root, batch: folder(root, batch, 2),
}


def start(kind: str, root: Path, batch: int) -> dict[str, Any]:
    """One start, in this process: the time to the first batch, and what follows."""
    imported(kind)
    began = time.perf_counter(), time.process_time()
    stream, items = KINDS[kind](root, batch)
    shape = list(next(stream).shape)
    told: dict[str, Any] = {"items": items, "shape": shape, "first_batch_s": _rounded(time.perf_counter() - began[0])}
    told["first_batch_cpu_s"] = _rounded(time.process_time() - began[1])
    epochs, memory = (EPOCHS if kind == "unnoise" else 1), []
    drawn = max(1, items // batch) if kind == "unnoise" else READ
    began = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        for _ in range(drawn):
            next(stream)
        memory.append(_resident_mb())
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    told["pictures_per_s"] = round(epochs * drawn * batch / seconds[0], 1)
    told["pictures_per_cpu_s"] = round(epochs * drawn * batch / seconds[1], 1)
    return told | {"resident_mb": memory}


def imported(kind: str) -> None:
    """Everything that a kind needs is imported before its clock starts."""
    import PIL.Image  # noqa: F401
    import torch.utils.data  # noqa: F401

    import unnoise.domain  # noqa: F401

    sys.path += [path for path in os.environ.get("UNNOISE_PEERS", "").split(os.pathsep) if path]
    if kind == "datasets":
        import datasets  # noqa: F401


def _resident_mb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


def compared(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The ratios that the goals are about, by the clock and by the processor's time."""
    ratios: dict[str, Any] = {}
    first, second = told["unnoise, first"], told["unnoise, second"]
    for unit, key in (("clock", "first_batch_s"), ("cpu", "first_batch_cpu_s")):
        if "datasets, first" in told:
            theirs = {turn: told[f"datasets, {turn}"][key] for turn in ("first", "second")}
            ratios[f"first start, {unit}"] = round(first[key] / theirs["first"], 4)
            ratios[f"second start, {unit}"] = round(second[key] / theirs["second"], 5)
            ratios[f"without a cache: second start, {unit}"] = round(first[key] / theirs["second"], 4)
    for name in ("folder", "folder, 2 workers", "datasets, second"):
        if name in told:
            ratios[f"read rate over {name}"] = round(second["pictures_per_s"] / told[name]["pictures_per_s"], 1)
    if "folder" in told:
        ratios["read rate over folder, cpu"] = round(second["pictures_per_cpu_s"] / told["folder"]["pictures_per_cpu_s"], 1)
    if "datasets, second" in told and "folder" in told:
        rate = told["datasets, second"]["pictures_per_s"] / told["folder"]["pictures_per_s"]
        ratios["files decoded anew: read rate of datasets over folder"] = round(rate, 2)
    memory = second["resident_mb"]
    ratios["memory after the last epoch over that after the first"] = round(memory[-1] / memory[0], 3)
    return ratios


def main(*arguments: str) -> None:
    options = {"batch": "128", "most": "0", "others": "datasets,folder", "one": ""}
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments if argument.startswith("--"))
    (data,) = (Path(argument) for argument in arguments if not argument.startswith("--"))
    batch, others = int(options["batch"]), options["others"].split(",")
    if options["one"]:
        print(json.dumps(start(options["one"], data, batch)))
        return
    turns = [("unnoise", "first"), ("unnoise", "second")]
    turns += [("datasets", "first"), ("datasets", "second")] if "datasets" in others else []
    turns += [("folder", ""), ("folder, 2 workers", "")] if "folder" in others else []
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as below:
        root = unpacked(data, Path(below), int(options["most"]))
        kept = {"UNNOISE_CACHE": f"{below}/ours", "HF_HOME": f"{below}/theirs", "HF_HUB_OFFLINE": "1"}
        for kind, turn in turns:
            command = [sys.executable, "-m", "benchmarks.loader", str(root), f"--one={kind}", f"--batch={batch}"]
            done = subprocess.run(command, env=os.environ | kept, check=True, stdout=subprocess.PIPE, text=True)
            told[f"{kind}, {turn}".removesuffix(", ")] = json.loads(done.stdout)
            print(kind, turn, done.stdout.strip(), file=sys.stderr)
    print(json.dumps({"goals": GOALS, "ratios": compared(told), **told}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
