"""How long a folder or archive of pictures takes to its first batch, cold and warm, and then for each batch; one line of JSON.

    python benchmarks/loader.py DATA [batch]

Each start is a process of its own; cold means an empty cache of decoded pictures (the file system's may be warm).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time


def first_batch(data: str, batch: int) -> dict[str, object]:
    begin = time.perf_counter()
    import torch

    from unnoise.domain import Images
    from unnoise.tensor import Rng, permutation

    imported = time.perf_counter()
    images = Images(data, flip=True)
    dataset = images.dataset()
    order = permutation(len(dataset), 0, "order")
    positions = torch.arange(batch)

    def draw(i: int) -> dict[str, torch.Tensor]:
        return dataset.batch(order[(positions + i * batch) % len(order)], Rng(0, positions).at(i))

    draw(0)
    first = time.perf_counter()
    for i in range(1, 51):
        draw(i)
    each = (time.perf_counter() - first) / 50
    return {
        "import_s": round(imported - begin, 3),
        "first_batch_s": round(first - imported, 3),
        "later_batch_ms": round(1000 * each, 3),
        "splits": images.facts()["splits"],
        "shape": list(images.shape),
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    data, batch = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 128
    if "--one" in sys.argv:
        print(json.dumps(first_batch(data, batch)))
        return
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, data, str(batch), "--one"]
        runs = [
            json.loads(subprocess.run(command, env=os.environ | {"UNNOISE_CACHE": cache}, check=True, capture_output=True).stdout)
            for _ in ("cold", "warm")
        ]
    print(json.dumps({"data": os.path.basename(data), "batch": batch, "cold": runs[0], "warm": runs[1]}))


if __name__ == "__main__":
    main()
