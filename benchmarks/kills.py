"""Kill a training run many times and compare its end with an uninterrupted one's: `python benchmarks/kills.py [N] [SEED]`.

Prints JSON: kills made, how many of them inside a save, committed checkpoints lost, and whether sha256 of weights, averages
and optimiser, the state and the log (without times) are equal.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]


def main(kills: int = 20, seed: int = 1) -> None:
    os.environ["KILL_STEPS"] = str(max(120, 3 * kills))  # so that the last kill finds it at work
    from test_kill import campaign, ready

    ready()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = campaign(Path(folder), kills, seed)
    print(json.dumps({**result, "seconds": round(time.perf_counter() - start, 1)}, indent=2))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
