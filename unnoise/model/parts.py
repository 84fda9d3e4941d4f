"""The network of a recipe and what makes it answer: E[x | x_t], or of what class x is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from unnoise.augment import Augment
from unnoise.codec import Codec, Identity, Offset
from unnoise.condition import Conditions
from unnoise.denoiser import Denoiser, Recogniser, SelfConditioned
from unnoise.domain import Domain
from unnoise.guidance import Clip, Guidance, Threshold
from unnoise.operator import Shown
from unnoise.recipe import Recipe, RecipeError
from unnoise.zoo.empty import Making, made


def denoiser(
    recipe: Recipe,
    domain: Domain,
    codec: Codec,
    network: nn.Module | Making | None,
    shown: Shown | None = None,
    own: Conditions | None = None,
) -> Denoiser:
    conds = {**domain.conds, **(own or {})}
    network = made(network, lambda: recipe.build("network", shape=codec.shape(domain.shape), conds=conds))
    schedule = recipe.build("schedule")
    predict, level = recipe.build("prediction", schedule=schedule), recipe.build("level")
    if recipe.members("denoiser"):
        given = {"network": network, "schedule": schedule, "predict": predict, "level": level, "project": domain.project}
        return recipe.build("denoiser", **given, **({"shown": shown} if shown else {}))
    try:
        return Denoiser(network, schedule, predict, level, domain.project)
    except ValueError as error:
        raise RecipeError(str(error)) from error


def shown(recipe: Recipe, domain: Domain, codec: Codec) -> Shown | None:
    """What the network is shown of x, where the recipe names operators."""
    if not recipe.members("operator"):
        return None
    if not isinstance(codec, Identity):
        raise RecipeError("[operator]: measurements are shown to networks of the pictures themselves; expected no codec")
    try:
        return Shown(recipe.build_all("operator"), domain.shape)
    except ValueError as error:
        raise RecipeError(f"[operator]: {error}") from error


def augment(recipe: Recipe) -> Augment | None:
    """How pictures are varied while the network learns, where the recipe says it."""
    if recipe.members("augment") and recipe.classifies:
        raise RecipeError("[augment]: a classifier cannot be told how its pictures were varied; [domain.Images] flip is not told")
    return recipe.build("augment") if recipe.members("augment") else None


def own(recipe: Recipe, domain: Domain, codec: Codec, shown: Shown | None, varied: Augment | None) -> Conditions:
    """The conditions that the model makes of x itself: no file has them, and nobody is asked for them."""
    recalled = SelfConditioned.own(codec.shape(domain.shape)) if "SelfConditioned" in recipe.members("denoiser") else {}
    try:
        return {**recalled, **(shown.conds if shown else {}), **(varied.conds(domain.shape) if varied else {})}
    except ValueError as error:
        raise RecipeError(f"[augment]: {error}") from error


def check_bounds(codec: Codec, rules: Sequence[Guidance]) -> None:
    """RecipeError where a rule would cut latents that belong to data."""
    for rule in rules:
        if isinstance(codec, Offset) and codec.strength and isinstance(rule, Clip | Threshold) and rule.high < 2:
            name = type(rule).__name__
            raise RecipeError(
                f"[guidance.{name}] high = {rule.high:g} cuts latents of codec Offset, which reach to 2: expected 2"
            )


def recogniser(recipe: Recipe, domain: Domain, codec: Codec, network: nn.Module | Making | None) -> Recogniser:
    """Of the first condition of the data that has classes."""
    classes = {name: condition for name, condition in domain.conds.items() if condition.classes}
    if not classes:
        raise RecipeError(f"a classifier needs data with classes; these have {', '.join(domain.conds) or 'no conditions'}")
    name, condition = next(iter(classes.items()))
    network = made(network, lambda: recipe.build("network", shape=codec.shape(domain.shape), classes=len(condition.classes)))
    return Recogniser(network, recipe.build("schedule"), name, condition, recipe.build("level"), domain.project)
