"""How a condition's values are spread over the pictures, in words."""

from __future__ import annotations

import numpy as np

from unnoise.condition import Condition

FEW = 10  # pictures of a class or word: fewer are hardly learnt
NAMED = 3  # classes and words that are told by name


def told(name: str, condition: Condition, column: np.ndarray) -> str:
    """One line: of what kind it is, how often which values are, and how often it is missing.

    Args:
        name, condition: Of the data.
        column: Its values, (N, ...).
    """
    known = present(condition, column)
    parts = [f"{name}: {condition.kind}"]
    if condition.classes or condition.words:
        counts = counted(condition, column)
        often = sorted(counts, key=counts.__getitem__, reverse=True)
        shown = often if len(often) <= 2 * NAMED else [*often[:NAMED], *often[-NAMED:]]
        parts.append(", ".join(f"{one} {counts[one]}" + (" ..." if i == NAMED - 1 and len(shown) < len(often) else "")
                               for i, one in enumerate(shown)))  # fmt: skip
        if condition.words and known.any():
            parts.append(f"{column[known].sum() / known.sum():.1f} a picture")
    elif known.any() and not condition.shape:
        low, middle, high = np.quantile(column[known].astype(np.float64), [0, 0.5, 1])
        parts.append(f"{low:g} to {high:g}, median {middle:g}")
    if not known.all():
        parts.append(f"missing in {1 - known.mean():.1%}")
    return ", ".join(parts)


def faults(name: str, condition: Condition, column: np.ndarray) -> list[str]:
    """What may be hard to learn of it, a line each."""
    lines, known = [], present(condition, column)
    if condition.words:
        few = [word for word, n in counted(condition, column).items() if n < FEW]
        listed = ", ".join(few[:NAMED]) + (", ..." if len(few) > NAMED else "")
        lines += [f"{name}: {len(few)} words of fewer than {FEW} pictures: {listed}"] if few else []
    elif not condition.classes and known.any() and np.ptp(column[known], 0).max() == 0:
        lines.append(f"{name} has one value throughout: it tells nothing")
    return lines


def present(condition: Condition, column: np.ndarray) -> np.ndarray:
    """Of which pictures something is known, (N,)."""
    if condition.classes:
        return column < len(condition.classes)
    return ~np.isnan(column.reshape(len(column), -1)).all(1)


def counted(condition: Condition, column: np.ndarray) -> dict[str, int]:
    """The pictures of each class or word."""
    if condition.words:
        return dict(zip(condition.words, np.nansum(column, 0).astype(int).tolist(), strict=True))
    counts = np.bincount(column, minlength=len(condition.classes) + 1)[: len(condition.classes)]
    return dict(zip(condition.classes, counts.tolist(), strict=True))
