"""How the losses of a run went, in words."""

from __future__ import annotations

from math import prod
from statistics import fmean, median

from unnoise.task.report.history import History

FEWEST = 6  # looks at the held-out loss, before there is a trend
LEVEL = 0.003  # of the loss: what falls less from one quarter of the run to the next has levelled off
RISING = 0.01  # of the loss, above its least
BURST = 10  # times the median of the gradient's norm
LAG = 0.02  # of the loss, that newest weights are better by


def told(history: History) -> list[str]:
    """A line for each thing that the log of a run tells: the trend of the held-out loss, the average, gradients, times back."""
    lines = [trend(history), average(history), gradients(history), rollbacks(history)]
    return [line for line in lines if line]


def trend(history: History) -> str:
    """Whether the held-out loss falls, has levelled off, or rises while that of the training items falls."""
    steps, held_out = _mean(history, "held_out")
    _, trained_on = _mean(history, "trained_on")
    if len(steps) < FEWEST:
        return ""
    quarter = max(len(steps) // 4, 2)
    now, before = fmean(held_out[-quarter:]), fmean(held_out[-2 * quarter : -quarter])
    least = min(range(len(steps)), key=held_out.__getitem__)
    falling = len(trained_on) >= 2 * quarter and fmean(trained_on[-quarter:]) < fmean(trained_on[-2 * quarter : -quarter])
    if now > (1 + RISING) * held_out[least] and least < len(steps) - quarter and falling:
        return (
            f"the held-out loss has risen by {now / held_out[least] - 1:.1%} since step {steps[least]:,}, while that of training "
            f"items falls: it begins to learn by heart; the best weights were those of step {steps[least]:,}"
        )
    fallen, span = 1 - now / before, steps[-1] - steps[-1 - quarter]
    if fallen < LEVEL:
        return f"the held-out loss has levelled off since about step {_level(steps, held_out, now):,} ({now:.4g})"
    return f"the held-out loss still falls: by {fallen:.1%} over the last {span:,} steps ({now:.4g})"


def average(history: History) -> str:
    """Whether the newest weights are ahead of their average, on the same held-out items."""
    raw_steps, raw = _mean(history, "held_out_raw")
    at = dict(zip(*_mean(history, "held_out"), strict=True))
    if not raw or raw_steps[-1] not in at:
        return ""
    gain = 1 - at[raw_steps[-1]] / raw[-1]
    if gain < -LAG:
        return f"the newest weights are {-gain:.1%} better than their average, which lags: a smaller ema would do"
    return f"the average is {gain:.1%} better than the newest weights" if gain > LAG else ""


def gradients(history: History) -> str:
    """Whether the last gradients are far larger than they were."""
    norms = history.series("grad_norm")[1]
    if len(norms) < FEWEST or norms[-1] < BURST * median(norms):
        return ""
    return f"the gradient's norm is {norms[-1] / median(norms):.0f} times its median: lower lr, or clip"


def rollbacks(history: History) -> str:
    """How often the run went back, why it did so last, and what that has left of the learning rate."""
    made = history.rollbacks
    if not made:
        return ""
    often, last = "once" if len(made) == 1 else f"{len(made)} times", made[-1]
    left = prod(one["rate"] for one in made)
    why = f"from step {last['from']:,} to {last['step']:,}, because {last['because']}"
    return f"it went back {often}, the last time {why}: lr is {left:.3g} of the recipe's; a smaller lr would do"


def _mean(history: History, name: str) -> tuple[list[int], list[float]]:
    """The mean over the bands of each row that has them."""
    rows = [(row["step"], [v for v in row[name].values() if isinstance(v, int | float)]) for row in history.rows if row.get(name)]
    return [step for step, bands in rows if bands], [fmean(bands) for _, bands in rows if bands]


def _level(steps: list[int], values: list[float], now: float) -> int:
    """The first step from which on all values are within a hundredth of what they are now."""
    return next(step for k, step in enumerate(steps) if all(abs(v / now - 1) < 0.01 for v in values[k:]) or k == len(steps) - 1)
