"""`python -m benchmarks NAME [ARGUMENTS]` runs `benchmarks/NAME.py`, which prints JSON, and keeps that in `results/NAME.json`.

Without a name: all that need no arguments. `claims` keeps rows of its own (see `benchmarks/claims`).
"""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
ALL = ("selfcheck", "mutants", "grid", "kills", "overhead", "quality")  # those that need no arguments


def main() -> int:
    name, *arguments = sys.argv[1:] or ["all"]
    if name == "all":
        return max(keep(one, []) for one in ALL)
    if name == "claims":
        return subprocess.run([sys.executable, "-m", "benchmarks.claims", *arguments], cwd=HERE.parent).returncode
    if not (HERE / f"{name}.py").is_file():
        names = sorted(path.stem for path in HERE.glob("[!_]*.py"))
        print(f"no benchmark {name!r}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    return keep(name, arguments)


def keep(name: str, arguments: list[str]) -> int:
    """Runs one benchmark and keeps what it printed; returns its exit code."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="")
    if done.returncode == 0:
        result = json.loads(done.stdout)
        shown = ["python", "-m", "benchmarks", name, *(Path(a).name for a in arguments)]
        text = json.dumps({"command": " ".join(shown), **about(), "result": result}, indent=1) + "\n"
        (HERE / "results" / f"{name}{_suffix(arguments)}.json").write_text(text, "utf-8")
    return done.returncode


def about() -> dict[str, object]:
    """When and where."""
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE.parent, capture_output=True, text=True
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "machine": f"{_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _suffix(arguments: list[str]) -> str:
    """What was measured, where that is a file or folder: its bare name."""
    return "".join("-" + Path(a).name.split(".")[0] for a in arguments if Path(a).exists())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
