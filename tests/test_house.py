"""The house itself: who imports whom, what is imported when, and that every public thing says what it is."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import unnoise

ROOT = Path(unnoise.__file__).parent
FLOORS = [
    {"tensor", "show", "box"},
    {"condition"},
    {"schedule", "level", "prediction", "nn", "operator", "augment", "codec", "domain", "metric", "train"},
    {"denoiser", "network", "certificate"},
    {"times", "loss", "likelihood", "sampler", "guidance", "engine"},
    {"recipe", "zoo", "recipes"},
    {"share"},
    {"model"},
    {"task"},
    {"cli", "serve"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
SIDEWAYS = {
    ("codec", "nn"),
    ("metric", "nn"),
    ("level", "schedule"),
    ("prediction", "schedule"),
    ("sampler", "times"),
    ("likelihood", "loss"),
    ("cli", "serve"),
}
HEAVY = {"PIL", "matplotlib", "tensorboard", "tifffile", "imagecodecs", "scipy", "pydantic", "rich", "jinja2", "sklearn"}
MODULES = [module.name for module in pkgutil.walk_packages([str(ROOT)], "unnoise.")]


def imports(path: Path, nested: bool) -> set[str]:
    """Names of the modules that a file imports: all of them, or (not nested) those of its top level that run."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = ast.walk(tree) if nested else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT.parent).with_suffix("").parts[: -node.level]
                base = ".".join((*package, base)).rstrip(".")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    return [*name.split("."), ""][1]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    here = path.relative_to(ROOT).with_suffix("").parts[0]
    if here in ("__init__", "__main__"):
        return
    assert here in FLOOR, f"{here} has no floor"
    for name in imports(path, nested=True):
        there = room(name)
        if not name.startswith("unnoise.") or there == here or there not in FLOOR:
            continue
        assert FLOOR[there] < FLOOR[here] or (here, there) in SIDEWAYS, f"{here} imports {there}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    if path.is_relative_to(ROOT / "serve"):  # which is imported whole, where its verb runs
        return
    tops = {name.split(".")[0] for name in imports(path, nested=False)}
    assert not tops & HEAVY


@pytest.mark.parametrize("name", MODULES)
def test_public_things_say_what_they_are(name: str) -> None:
    module = importlib.import_module(name)
    assert inspect.getdoc(module), f"{name} has no docstring"
    for member_name in getattr(module, "__all__", []):
        member = getattr(module, member_name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), f"{name}.{member_name} has no docstring"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, unnoise; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & (HEAVY | {"torch", "numpy"})


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom unnoise.cli import run\nsys.argv = ['unnoise', '--help']\n"
        "try: run()\nfinally: assert 'torch' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    verbs = [path.stem.rstrip("_") for path in (ROOT / "cli" / "verbs").glob("[!_]*.py")]
    assert len(verbs) > 10
    for verb in verbs:
        assert f"  {verb} " in shown.stdout


def test_no_pickle_anywhere() -> None:
    for path in ROOT.rglob("*.py"):
        names = {name.split(".")[0] for name in imports(path, nested=True)}
        assert not names & {"pickle", "dill", "cloudpickle", "joblib"}, path
        # One file reads what torch's loader of weights alone makes of a stranger's archive, after looking into it.
        found = [line for line in path.read_text("utf-8").splitlines() if "torch.load(" in line]
        assert all("weights_only=True" in line for line in found) and (not found or path.name == "pickled.py"), path
