"""Odd files, places, names and damage: read right, or listed in one line? `python -m benchmarks pictures [MUTATIONS]`.

The control is the data set that everybody writes: all files of a folder whose names end as a picture's do, each by
`Image.open(path).convert("RGB")`, in a process that is killed where a file takes ten seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from odd_places import PLACES, named, place
from odd_png import Odd
from test_odd_files import ODD, expected, mutants, outcome, same, summed

PATIENCE = 10  # seconds


def main(n: str = "1000") -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["UNNOISE_CACHE"] = f"{name}/cache"
        result = {
            "odd_files": odd_files(folder),
            "odd_places": odd_places(folder),
            "odd_names": odd_names(folder),
            "mutated": damaged(folder, int(n)),
        }
    print(json.dumps(result))


def odd_files(folder: Path) -> dict[str, object]:
    times, found, plain = [], {}, Counter[str]()
    for k, (name, odd) in enumerate(ODD.items()):
        began = time.perf_counter()
        found[name] = outcome(odd, folder / f"odd-{k}")
        times.append(time.perf_counter() - began)
        plain[apart(odd, folder / f"odd-{k}")] += 1
    wrong = {name: what for name, what in found.items() if what not in expected(ODD[name])}
    return {
        "kinds": len(ODD),
        "as_expected": len(ODD) - len(wrong),
        "read_right": sum(what == "right" for what in found.values()),
        "listed_in_one_line": sum(what == "listed" for what in found.values()),
        "wrong": wrong,
        "slowest_s": round(max(times), 2),
        "plain": dict(plain),
    }


def odd_places(folder: Path) -> dict[str, object]:
    right, plain = 0, Counter[str]()
    for k, name in enumerate(PLACES):
        (at := folder / f"place-{k}").mkdir()
        pictures, listed = place(name, at)
        told = checked(at)
        right += told["pictures"] == pictures and told["broken"] == listed and told["exit"] in (0, 2) and told["one_line"]
        plain[read_all(at)] += 1
    return {"places": len(PLACES), "as_expected": right, "plain": dict(plain)}


def odd_names(folder: Path) -> dict[str, object]:
    (at := folder / "names").mkdir()
    count = named(at)
    told = checked(at)
    return {"names": count, "read": told["pictures"], "printable": told["printable"], "plain_prints": told["plain_printable"]}


def damaged(folder: Path, n: int) -> dict[str, object]:
    (at := folder / "mutated").mkdir()
    made = mutants(n)
    for k, (odd, content) in enumerate(made):
        (at / f"{k}{odd.suffix}").write_bytes(content)
    began = time.perf_counter()
    told = checked(at)
    from pictures import decoded

    from unnoise.domain import scan

    broken, seconds, quiet = scan(at).broken, time.perf_counter() - began, 0
    plain: Counter[str] = Counter()
    for k, (odd, content) in enumerate(made):
        file = f"{k}{odd.suffix}"
        if summed(odd):
            quiet += file not in broken and not same(odd, decoded(content))
            plain[apart(odd, at, file)] += 1
    return {
        "files": n,
        "read": told["pictures"],
        "listed_in_one_line": told["broken"],
        "one_line_at_the_end": told["one_line"],
        "lines_of_libtiff": told["noise"],
        "seconds": round(seconds, 1),
        "png_read_with_other_pixels": quiet,
        "plain_png": dict(plain),
    }


def checked(folder: Path) -> dict[str, object]:
    """What `unnoise check` says of a folder, in a process of its own."""
    command = [sys.executable, "-m", "unnoise", "check", str(folder), "--no-forecast"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    head = done.stdout.splitlines()[0].rpartition(": ")[2].split() if done.stdout else ["-1", "", "-1"]
    return {
        "exit": done.returncode,
        "pictures": int(head[0]),
        "broken": sum(line.startswith("  broken: ") for line in done.stdout.splitlines()),
        "one_line": done.stderr.count("unnoise: ") == (done.returncode != 0) and "Traceback" not in done.stderr,
        "noise": done.stderr.count("\n") - (done.returncode != 0),  # libtiff writes to standard error by itself
        "printable": all(line.isprintable() for line in done.stdout.splitlines()),
        "plain_printable": all(path.name.isprintable() for path in folder.iterdir()),
    }


def plain(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def apart(odd: Odd, folder: Path, name: str = "") -> str:
    """What the plain way makes of an odd file: its pixels as 8 bits of RGB, others, an error, or a warning and others."""
    path = folder / (name or f"odd{odd.suffix}")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            pixels = plain(path)
        except Exception:
            return "ends with a traceback" if odd.pixels is None or name else "ends with a traceback, though the file is good"
    if odd.pixels is None:
        return "reads what is broken"
    top = 255 if odd.pixels.max() <= 255 and odd.pixels.max() > 1 else 65535 if odd.pixels.max() > 255 else 1
    meant = np.broadcast_to(odd.pixels[..., :3] if odd.pixels.shape[2] >= 3 else odd.pixels[..., :1], (*odd.pixels.shape[:2], 3))
    right = pixels.shape == meant.shape and (np.abs(pixels - meant * (255 / top)) <= odd.within + 2).all()
    return ("right" if right else "other pixels, without a word") + " (warned)" * bool(told)


def read_all(folder: Path) -> str:
    """What becomes of the plain data set of a folder."""
    work = multiprocessing.get_context("fork").Process(target=_read_all, args=(folder,))
    work.start()
    work.join(PATIENCE)
    if work.is_alive():
        work.kill()
        work.join()
        return "hangs"
    return "reads all" if work.exitcode == 0 else "ends with a traceback"


def _read_all(folder: Path) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png"):
        plain(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
