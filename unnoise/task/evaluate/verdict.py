"""What the numbers say, in words. A finding needs an interval that lies clear of what real data reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unnoise.task.evaluate.result import Number

DECIBEL = 1.0  # of detail, beyond what real data differ by
SHORT = 0.85  # of what real data reach: below that something is missing
LESS = 0.95  # of what real data reach: below that it is told, though no fault
FADED = 0.3  # decibels of detail that are told, though no fault
KINDS = 1.1  # of what real data reach: beyond that something is added
COPIED = 0.02  # of the samples, beyond the real data's share and half of it: lost classes change that share too
FAR = 2.0  # times the distance of other real data
NAMED = 12  # classes


def verdict(numbers: Mapping[str, Number], missing: Sequence[str], noun: str = "pictures") -> list[str]:
    """A line for each finding, the gravest first; one that says so where there is none.

    Args:
        numbers: Of the evaluation; those that are absent say nothing.
        missing: Names of classes that are hardly there.
        noun: For what the samples are.
    """
    found: list[str] = []
    texture, disobedient = _texture(numbers), _disobedient(numbers)
    doubted = texture or disobedient  # a classifier that recognises little cannot tell what is not there
    if missing and not doubted:
        found.append(f"mode dropped: {_classes(missing)} missing")
    if line := _copies(numbers, noun):
        found.append(line)
    if texture:
        found.append(texture)
    if not found and (line := _narrow(numbers)):
        found.append(line)
    if not texture and (line := _strange(numbers, noun)):
        found.append(line)
    if disobedient:
        found.append(disobedient)
    if missing and doubted:
        found.append(f"not recognised among them: {_classes(missing)}")
    return found + [line for line in [_far(numbers)] if line] if found else [_fine(numbers)]


def _classes(names: Sequence[str]) -> str:
    return f"class{'es' * (len(names) > 1)} {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _copies(numbers: Mapping[str, Number], noun: str) -> str:
    copies = numbers.get("copies")
    if copies is None or copies.real is None or copies.low < 1.5 * copies.real.value + COPIED or copies.low < copies.real.high:
        return ""
    return (
        f"copies: {copies.value:.0%} of samples are nearer to training {noun} than half of what new data are "
        f"(new data: {copies.real.value:.0%})"
    )


def _texture(numbers: Mapping[str, Number]) -> str:
    detail = numbers.get("detail")
    if detail is None or detail.real is None:
        return ""
    if detail.high < detail.real.low - DECIBEL:
        return f"blurred: {-detail.value:.1f} dB less fine detail than the data"
    if detail.low > detail.real.high + DECIBEL:
        return f"noisy: {detail.value:.1f} dB more fine detail than the data"
    kinds, precision = numbers.get("vendi"), numbers.get("precision")
    if kinds is not None and kinds.real is not None and kinds.low > KINDS * kinds.real.high and _short(precision):
        return f"noisy: samples differ in more ways than data do (vendi {kinds.value:.3g}, real data {kinds.real.value:.3g})"
    return ""


def _short(number: Number | None, share: float = SHORT) -> bool:
    """Whether a number lies clearly below what real data reach, or that share of it."""
    return number is not None and number.real is not None and number.high < share * number.real.low


def _beside(numbers: Mapping[str, Number], names: Sequence[str]) -> list[str]:
    """Those that there are, each with what real data reach."""
    shown = {name: numbers[name] for name in names if name in numbers}
    return [f"{name} {n.value:.2f} (real data {n.real.value:.2f})" for name, n in shown.items() if n.real is not None]


def _narrow(numbers: Mapping[str, Number]) -> str:
    if _short(numbers.get("precision")) or not _short(numbers.get("recall")):
        return ""
    return f"low diversity: {', '.join(_beside(numbers, ('recall', 'coverage', 'diversity')))}"


def _strange(numbers: Mapping[str, Number], noun: str) -> str:
    precision = numbers.get("precision")
    if precision is None or precision.real is None or not _short(precision):
        return ""
    return (
        f"unlike the data: {precision.value:.0%} of samples look like {noun} of it (other real data: {precision.real.value:.0%})"
    )


def _disobedient(numbers: Mapping[str, Number]) -> str:
    accuracy = numbers.get("accuracy")
    if accuracy is None or accuracy.real is None or not _short(accuracy):
        return ""
    return (
        f"conditions are not kept: {accuracy.value:.0%} of samples are recognised as asked (real data: {accuracy.real.value:.0%})"
    )


def _far(numbers: Mapping[str, Number]) -> str:
    """How far away that is, where it is surely more than twice as far as other real data."""
    distance = numbers.get("frechet")
    if distance is None or distance.real is None or distance.real.value <= 0 or distance.low < FAR * distance.real.value:
        return ""
    return f"the Frechet distance is {distance.value / distance.real.value:.3g} times that of other real data"


def _lesser(numbers: Mapping[str, Number]) -> list[str]:
    """What is surely less than real data have, though not so much that it is a fault."""
    # Not of coverage, whose interval is too narrow where data lie in heaps.
    names = [name for name in ("precision", "recall", "diversity", "accuracy") if _short(numbers.get(name), LESS)]
    told = _beside(numbers, names)
    detail = numbers.get("detail")
    if detail is not None and detail.real is not None:
        if detail.high < detail.real.low - FADED:
            told.append(f"{-detail.value:.1f} dB less fine detail")
        elif detail.low > detail.real.high + FADED:
            told.append(f"{detail.value:.1f} dB more fine detail")
    return told


def _fine(numbers: Mapping[str, Number]) -> str:
    if lesser := _lesser(numbers):
        return f"no grave fault, but not yet like real data: {', '.join(lesser)}"
    distance = numbers.get("frechet_infinity", numbers.get("frechet"))
    if distance is None or distance.real is None:
        return "no fault found"
    if distance.low <= distance.real.high:
        return "no fault found: as near to the data as other real data are"
    plain = numbers.get("frechet", distance)
    ratio = plain.value / plain.real.value if plain.real is not None and plain.real.value > 0 else float("inf")
    return f"no fault found; the Frechet distance is {ratio:.3g} times that of other real data"
