"""The picture and the table of docs/few-steps.md, from what `benchmarks.quality` found: `python -m benchmarks._curves`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LINES = {  # of a row: label, colour, style
    "diffusers default": ("diffusers, as it comes", "#b0b0b0", ":"),
    "peer": ("best of the others, in hindsight", "#555555", "-"),
    "default": ("unnoise, untuned", "#7fa8d9", "-"),
    "tuned": ("unnoise tune", "#c0392b", "-"),
}


def cases() -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted((HERE / "results").glob("quality*.json"), key=lambda file: file.stem):  # closed forms first
        for name, case in json.loads(file.read_text("utf-8"))["result"]["cases"].items():
            found[name] = {int(nfe): row for nfe, row in case["by nfe"].items()}
    return found


def draw(found: dict[str, dict[int, dict[str, Any]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = -(-len(found) // 2)
    figure, axes = plt.subplots(2, columns, figsize=(2.5 * columns, 5.2), squeeze=False, layout="constrained")
    for axis, (name, rows) in zip(axes.flat, found.items(), strict=False):
        for key, (label, colour, style) in LINES.items():
            points = [(nfe, row[key]) for nfe, row in rows.items() if row[key]]
            if points:
                axis.loglog(*zip(*points, strict=True), style, color=colour, label=label, marker=".", linewidth=1.4)
        axis.set_title(name, fontsize=9)
        axis.set_xticks(list(rows), [str(nfe) for nfe in rows], fontsize=7)
        axis.minorticks_off()
        axis.tick_params(axis="y", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    handles, labels = max((axis.get_legend_handles_labels() for axis in axes.flat), key=lambda pair: len(pair[0]))
    figure.legend(handles, labels, loc="outside upper center", ncols=len(LINES), fontsize=8, frameon=False)
    figure.supxlabel("network evaluations", fontsize=8)
    figure.supylabel("distance to the exact end", fontsize=8)
    figure.savefig(path, dpi=90)


def table(found: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Ratios to the best of the others: tuned / untuned."""
    numbers = sorted({nfe for rows in found.values() for nfe in rows})
    lines = ["| |" + "".join(f" {nfe} |" for nfe in numbers), "|---" * (len(numbers) + 1) + "|"]
    for name, rows in found.items():
        cells = [f" {rows[n]['tuned / peer']:.2f} / {rows[n]['default / peer']:.2f} |" if n in rows else " |" for n in numbers]
        lines.append(f"| {name} |" + "".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    every = cases()
    draw(every, HERE.parent / "docs" / "few-steps.png")
    print(table(every))
