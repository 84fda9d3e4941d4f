"""Is a sample the same to the byte in any company? `python -m benchmarks.seeds RUN [SEEDS]`.

Each seed's PNG is made alone and in batches of 2, 3 and 8, through the same task as the command line's, and compared by SHA-256.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from unnoise.model import load
from unnoise.task.sample import KEY, describe


def main(run: str, seeds: str = "100") -> None:
    model, wanted = load(run), range(int(seeds))
    digests: dict[int, set[str]] = {seed: set() for seed in wanted}
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (1, 2, 3, 8):
            made = 0
            for company in batches(list(wanted), size):
                cond = model.draw(company)
                x = model.sample(seeds=company, cond=cond)
                texts = [
                    {KEY: json.dumps(describe(model, seed, {n: v[i] for n, v in cond.items()}, 0), sort_keys=True)}
                    for i, seed in enumerate(company)
                ]
                names = [str(seed) for seed in company]
                for seed, path in zip(company, model.domain.save(x, Path(folder) / str(size), names, texts), strict=True):
                    digests[seed].add(hashlib.sha256(path.read_bytes()).hexdigest())
                    made += 1
            counts[f"in batches of {size}"] = made
    equal = sum(len(found) == 1 for found in digests.values())
    print(json.dumps({"pictures": counts, "seeds": len(digests), "seeds with one digest": equal}))
    if equal < len(digests):
        sys.exit(1)


def batches(seeds: list[int], size: int) -> Iterator[list[int]]:
    """The seeds in groups of this size."""
    for first in range(0, len(seeds), size):
        yield seeds[first : first + size]


if __name__ == "__main__":
    main(*sys.argv[1:])
