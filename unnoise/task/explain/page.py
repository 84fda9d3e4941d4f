"""The page of one walk: self-contained, a slider through it, and its figures under one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unnoise.task.explain import Look, Told, sentence
from unnoise.task.pages.draw import ACCENT, MUTED, RULE, both, log, tile
from unnoise.task.pages.html import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def page(told: Told, name: str, command: str) -> str:
    """The whole page.

    Args:
        told: A walk.
        name: Of its run.
        command: That makes the page again.
    """
    from markupsafe import Markup

    picture, looks = bool(told.picture), told.looks
    rows = [("x", "x<sub>t</sub>, what there is" if picture else "x<sub>t</sub>, where the walk stands"),
            ("eps", "the noise predicted"), ("x0", "the picture predicted")]  # fmt: skip
    rows += [("end", "a walk on from here")] if picture else []
    frames = [
        {
            "look": look,
            "tiles": [Markup(_tile(told, getattr(look, key), f"{words} at t {look.t:.2f}")) for key, words in rows],
            "sentence": sentence(look, looks[k - 1] if k else None, picture),
            "t": f"{look.t:.3f}",
            "snr": _short(look.snr),
            "loss": _short(look.loss),
            "grey": f"{127.5 * look.error:.0f}",
        }
        for k, look in enumerate(looks)
    ]
    return render(
        __package__,
        "page.html",
        frames=frames,
        rows=[Markup(words) for _, words in rows],
        truth=Markup(_tile(told, told.truth.float().cpu(), "the picture itself" if picture else "the end of the walk")),
        charts=Markup(_charts(looks)),
        picture=told.picture,
        name=name,
        cond=", ".join(str(value) for value in told.cond.values() if value is not None),
        seed=told.seed,
        model=told.model,
        facts=[(k, str(v)) for k, v in _facts(told)],
        command=command,
        pixels=len(told.model.domain.shape) == 3,
        opens=first(told),
    )


def _tile(told: Told, x: Tensor | None, alt: str) -> str:
    """One picture, or a cloud of points."""
    if x is None:
        return ""
    plain = alt.replace("<sub>", "").replace("</sub>", "")
    return tile(told.model.domain, x.clamp(-1, 1)[0] if x.ndim == 4 else x, plain)


def _facts(told: Told) -> list[tuple[str, object]]:
    model = told.model
    named = {section: " ".join(model.recipe.members(section)) for section in ("schedule", "prediction", "network")}
    walk = f"{model.sampler}, {model.times}, {len(told.looks)} evaluations" if not told.picture else f"{model.sampler}"
    return [*named.items(), ("walk", walk), ("guidance", model.guidance or "none"), ("seed of the noise", told.seed)]


def _charts(looks: Sequence[Look]) -> str:
    """Signal to noise and loss over t, each with a mark for every look, of which the page shows one."""
    t = [look.t for look in looks]
    floor = min((look.loss for look in looks if look.loss > 1e-9), default=1e-9)  # the end of a walk is its own truth

    def draw(figure: Figure, wide: bool) -> None:
        panels = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
        drawn = (("signal to noise, α² / σ²", [max(look.snr, 1e-4) for look in looks], MUTED),
                 ("loss: squared error of the noise predicted", [max(look.loss, floor) for look in looks], ACCENT))  # fmt: skip
        for axes, (title, values, colour) in zip(panels, drawn, strict=True):
            axes.plot(t, values, color=colour, zorder=2)
            axes.scatter(t, values, 9, color=colour, zorder=3)
            log(axes, values)
            axes.set_title(title)
            axes.set_xlim(1.02, -0.02)
            axes.set_xticks([1, 0.5, 0], ["t = 1, noise", "0.5", "0, data"])
            for k, (at, value) in enumerate(zip(t, values, strict=True)):
                panel = "snr" if colour is MUTED else "loss"
                axes.axvline(at, color=RULE, linewidth=1.2, zorder=1, gid=f"{panel}-line-{k}-")
                axes.scatter([at], [value], 52, color=colour, zorder=4, gid=f"{panel}-dot-{k}-")

    return both(draw, "walk", "Signal to noise, and loss, over time", (7.6, 2.5), (3.7, 4.2))


def _short(value: float) -> str:
    """A number over many orders of size, in few signs."""
    if 1e-3 <= value < 1e5 or not value:
        return f"{value:,.0f}" if value >= 99.5 or not value else f"{value:.2g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def first(told: Told) -> int:
    """The look that the page opens on: where signal and noise are nearest to equal."""
    return int(torch.tensor([abs(look.alpha - look.sigma) for look in told.looks]).argmin())
