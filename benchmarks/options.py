"""Random changes of recipes: is what cannot be refused in one line that says what and why? `python -m benchmarks options [N]`.

The control is how recipes are read where nobody looks: the class of that name is called with the keys as they stand.
"""

from __future__ import annotations

import json
import random
import sys
import tomllib
import warnings
from collections import Counter
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pytest
from test_options import BASES, Case, case, fault, only_begun, told

from unnoise.recipe import Recipe

EACH = 50  # cases of a seed


def main(n: str = "1000") -> None:
    warnings.simplefilter("ignore")
    outcomes, faults, near, control = Counter[str](), [], Counter[bool](), Counter[str]()
    with pytest.MonkeyPatch.context() as patch:
        only_begun(patch)
        for seed in range(int(n) // EACH):
            draw = random.Random(seed)
            for _ in range(EACH):
                wrong = case(draw)
                code, said = told(wrong, patch)
                outcomes[{0: "may be", 2: "refused in one line"}.get(code, f"exit code {code}")] += 1
                if found := fault(wrong, code, said):
                    faults.append([wrong.change, found, said])
                if wrong.near and code == 2:
                    near[f"did you mean {wrong.near!r}" in said] += 1
                if code == 2:
                    control[plain(wrong)] += 1
            print(f"{seed}: {dict(outcomes)}, {len(faults)} faults", file=sys.stderr, flush=True)
    refused = sum(control.values())
    print(
        json.dumps(
            {
                "cases": sum(outcomes.values()),
                "outcomes": dict(outcomes),
                "faults": faults,
                "misspelt": sum(near.values()),
                "nearest_name_told": near[True],
                "plain": {"of": refused, **control},
            }
        )
    )


def plain(wrong: Case) -> str:
    """What calling the class by name with the keys as they stand makes of a change that is refused."""
    try:
        path, _, text = wrong.change.partition("=")
        section, name, key = [*path.split("."), "", ""][:3]
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        if not name:
            name, key = str(value), ""
        known = Recipe.read(wrong.recipe, BASES[wrong.recipe]).sections.get(section, {}).get(name, {})
        getattr(import_module(f"unnoise.{section}"), name)(**{**known, **({key: value} if key else {})})
    except ValueError as error:
        return "a ValueError" + (" that names the key" if wrong.key and wrong.key in str(error) else "")
    except Exception as error:
        return f"a traceback of {type(error).__name__}" + (" that names the key" if wrong.key and wrong.key in str(error) else "")
    return "accepted, and wrong later"


if __name__ == "__main__":
    main(*sys.argv[1:])
