"""An evaluation as a table that a person can read."""

from __future__ import annotations

import math

from unnoise.task.evaluate.result import Evaluation, Number

MEANS = {
    "frechet": "distance of means and covariances; 0 is best",
    "frechet_infinity": "the same, of infinitely many samples",
    "kid": "distance of distributions; 0 is best",
    "precision": "share of samples that look like data",
    "recall": "share of the data that samples could be",
    "density": "how densely samples lie where data do",
    "coverage": "share of the data that have a sample near",
    "diversity": "distance of samples to each other, over that of data",
    "vendi": "how many kinds of samples there are",
    "inception_score": "how sure and how even the classifier is",
    "accuracy": "share of samples recognised as asked",
    "class_distance": "share of samples in the wrong class, of the histogram",
    "sliced_wasserstein": "how far points are to be moved",
    "mmd": "distance of distributions; 0 is best",
    "detail": "dB of fine detail beyond the data: < 0 blur, > 0 noise",
    "spectrum": "dB, root mean square over all frequencies",
    "marginal": "distance of single values, in deviations",
    "contrast": "deviation within a sample, over that of data",
    "copies": "share nearer to training data than half of what new data are",
    "nearest": "distance to training data, over that of new data",
    "favour": "share nearer to training data than to as many new: 0.5 is none",
    "bits_per_dim": "of held-out data; less is better",
    "nfe": "evaluations of the network for a sample",
    "seconds": "for a sample",
    "joules": "for a sample, of the processor",
}


def table(found: Evaluation) -> str:
    """Numbers with their intervals, what real data reach, what that means; then the verdict."""
    rows = [("", "value", "95 % interval", "real data", "")]
    rows += [(name, short(n.value), ends(n), short(n.real.value) if n.real else "", MEANS.get(name, ""))
             for name, n in found.numbers.items()]  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *(f"{found.name}: {line}" for line in found.verdict), f"({found.about['protocol']})"])


def ends(number: Number) -> str:
    """An interval, short."""
    if math.isnan(number.low) or number.low == number.high:
        return ""
    return f"{short(number.low)} .. {short(number.high)}"


def short(value: float) -> str:
    """Three digits that count."""
    if math.isnan(value):
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return (
        f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"
        if size >= 0.1 or not size
        else f"{value:.2g}"
    )
