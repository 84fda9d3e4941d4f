"""A model: data, denoiser and the ways to use them, in one thing that is saved, loaded and sampled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unnoise import share
from unnoise.codec import Codec
from unnoise.condition import Conditions, named, unknown_condition
from unnoise.condition import rows as of_rows
from unnoise.denoiser import Denoise, Denoiser, Recogniser
from unnoise.domain import Domain
from unnoise.guidance import Borrowing, Guidance, Guided
from unnoise.model import guides, others, parts
from unnoise.model.card import card
from unnoise.model.defaults import Defaults, full_batches
from unnoise.recipe import Recipe
from unnoise.sampler import Ancestral, Fitted, Moment, Sampler, prior
from unnoise.tensor import Rng
from unnoise.times import Times
from unnoise.train import disk, write_weights
from unnoise.zoo.empty import Making
from unnoise.zoo.parts import Parts

if TYPE_CHECKING:
    from PIL.Image import Image

Value = Any  # of a condition: one for all samples (a class by name or number, a number, a vector), or one for each
FILES = ("recipe.toml", "data.json", "weights.safetensors")


class Model:
    """What a recipe describes: domain, codec, denoiser, and the defaults of sampling.

    Args:
        recipe: Builds every part.
        facts: Of the domain (`data.json` of a run); without them the domain reads its data.
        network: In place of one that the recipe builds.

    Attributes:
        recipe: As given.
        domain, codec, denoiser: The parts that training knows too. Where the network is a classifier the last is a `Recogniser`:
            it samples nothing, and guides others.
        shown: What the network is shown of x beside x_t, a measurement; None for most models.
        augment: How x is varied while the network learns; None for most models.
        own: The conditions that the model makes of x itself.
        sampler, times, guidance, defaults: The parts that only sampling knows.
        precision: "fp32", or "bf16" to run the network under autocast.
        digest: SHA-256 of the weights' file, "" before there is one.
        notes: Of an import: in what its walks are not those of the code that it came from.
    """

    def __init__(self, recipe: Recipe, facts: Mapping[str, Any] | None = None, network: nn.Module | Making | None = None) -> None:
        self.recipe = recipe
        domain: Domain = recipe.build("domain")
        self.domain = domain if facts is None else domain.with_facts(facts)
        self.codec: Codec = recipe.build("codec")
        self.shown = parts.shown(recipe, self.domain, self.codec)
        self.augment = parts.augment(recipe)
        self.own = parts.own(recipe, self.domain, self.codec, self.shown, self.augment)
        if recipe.classifies:
            self.denoiser: Denoiser = parts.recogniser(recipe, self.domain, self.codec, network)  # type: ignore[assignment]
        else:
            self.denoiser = parts.denoiser(recipe, self.domain, self.codec, network, self.shown, self.own)
        self.sampler: Sampler = recipe.build("sampler")
        self.times: Times = recipe.build("times")
        self.guidance: list[Guidance] = recipe.build_all("guidance")
        parts.check_bounds(self.codec, self.guidance)
        self.defaults: Defaults = recipe.build("model") if recipe.members("model") else Defaults()
        self.precision, self.digest = "fp32", ""
        self.notes: tuple[str, ...] = ()
        self.lenders: dict[str, Model] = {}

    @classmethod
    def from_pretrained(
        cls,
        source: Path | str,
        *,
        preset: str | None = None,
        revision: str | None = None,
        offline: bool = False,
        pickles: bool = False,
        device: torch.device | str = "cpu",
    ) -> Model:
        """A published model, ready to be sampled; `save` makes a run folder of it.

        Args:
            source: A run folder, a directory of diffusers (a pipeline of a UNet2DModel), a file of weights of guided diffusion,
                improved diffusion, EDM or DiT, or "owner/name" on the hub.
            preset: What a file's weights are, by name (`unnoise.zoo.preset.PRESETS`) or by the path of their configuration.
            revision, offline: Of the hub: which, and its cache alone. Needs the extra `hub`.
            pickles: Weights of a directory may be a .bin, where there is no .safetensors. Nothing in it is run.
            device: Where the model is put.

        Raises:
            ValueError: If there is no such model, it is of a kind that has no counterpart here, or a file of it is damaged.
        """
        from unnoise.zoo import source as sources

        path = sources.find(source, revision=revision, offline=offline, pickles=pickles)
        if (path / FILES[0]).is_file():
            from unnoise.model.read import load

            return load(path, device=device)
        return cls.assembled(sources.parts(path, preset, pickles)).to(device)

    @classmethod
    def assembled(cls, imported: Parts) -> Model:
        """The model of imported parts."""
        recipe = Recipe(imported.sections, foreign=())
        recipe.check()
        model = cls(recipe, imported.facts, imported.network)
        model.notes = imported.differs
        model.denoiser.eval().requires_grad_(False)
        return model

    @property
    def device(self) -> torch.device:
        return next((parameter.device for parameter in self.denoiser.parameters()), torch.device("cpu"))

    def to(self, device: torch.device | str) -> Model:
        """Moves the model to a device, and returns it."""
        self.denoiser.to(device)
        self.codec.to(device)
        return self

    @torch.no_grad()
    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        sampler: Sampler | None = None,
        times: Times | None = None,
        cond: Mapping[str, Value] | None = None,
        scale: float | None = None,
        guidance: Sequence[Guidance] | None = None,
        mirrored: bool = False,
        callback: Callable[[Moment], object] | None = None,
    ) -> Tensor:
        """New samples, (n, *shape), on the CPU. Sample i is a function of its own seed, whatever the others are.

        Args:
            n: How many; their seeds are seed, seed + 1, ...
            seed: The first seed.
            seeds: The seeds themselves, instead of n and seed.
            steps: Times in the walk.
            sampler, times, guidance: In place of the model's own. Walks that `unnoise tune` fitted belong to their sampler: with
                another one, or other times, the model samples as before it was tuned.
            cond: One value for all samples or a sequence of n, for some or all of the conditions; a condition that is not
                named is at its null. Without any (None), conditions are drawn as the training data have them, keyed by the seed.
            scale: Of the innermost rule of guidance that has one, or else of classifier-free guidance (1: none).
            mirrored: Of the opposite of each seed's noise: other samples of the same law (see `Rng.mirrored`).
            callback: Given each moment of the walk, of one batch after another.

        Raises:
            ValueError: For a condition, class or number that the model cannot take, or a sampler that its guidance does not suit.
        """
        seeds = list(range(seed, seed + (1 if n is None else n))) if seeds is None else list(seeds)
        if not seeds or (n is not None and n != len(seeds)):
            raise ValueError(f"n is {n} with {len(seeds)} seeds; expected at least one sample, and one seed for each")
        guidance = self.guidance if guidance is None else guidance
        denoiser = self.guided(guidance, scale)
        known = denoiser.conds
        values = self.draw(seeds, known) if cond is None else self.with_shown(self.conditions(cond, len(seeds), known), seeds)
        sampler, times = sampler or self.sampler, times or self.times
        fitted = times if isinstance(sampler, Fitted) else times.unfitted  # the walks fitted with one sampler are no other's
        if any(getattr(rule, "ancestral", False) for rule in guidance) and not isinstance(sampler, Ancestral):
            raise ValueError(f"{sampler!r} has no use for guidance with ancestral = true; expected the sampler Ancestral")
        visited = fitted(self.denoiser.schedule, self.defaults.steps if steps is None else steps)
        shape, done = self.codec.shape(self.domain.shape), []
        self.denoiser.eval()
        for rows in full_batches(len(seeds), self.defaults.batch):
            rng = Rng([seeds[i] for i in rows], device=self.device)
            rng = rng.mirrored([True] * len(rows)) if mirrored else rng
            part = {name: value[rows].to(self.device) for name, value in values.items()}
            x = self.denoiser.project(prior(self.denoiser.schedule, shape, visited[0], rng), part)
            kept = min(len(rows), len(seeds) - rows[0])
            with self._autocast():
                for moment in sampler.walk(denoiser, x, visited, part, rng):
                    if callback:
                        callback(moment._replace(x=moment.x[:kept], x0=moment.x0[:kept]))
                done.append(self.codec.decode(moment.x)[:kept].cpu())
        return torch.cat(done)

    def images(self, n: int | None = None, **options: Any) -> list[Image]:
        """The same as 8-bit pictures to look at; options as those of `sample`.

        Raises:
            ValueError: If the model's data are no pictures.
        """
        to_pil = getattr(self.domain, "to_pil", None)
        if to_pil is None:
            raise ValueError(f"{type(self.domain).__name__} are no pictures; use sample()")
        return to_pil(self.sample(n, **options))

    @property
    def conds(self) -> Conditions:
        """The conditions that sampling takes: those of the denoiser, and those of the model's own guidance."""
        return self.guided(self.guidance).conds

    def guided(self, rules: Sequence[Guidance], scale: float | None = None) -> Denoise:
        """The denoiser under these rules; a scale replaces the innermost one, or adds classifier-free guidance innermost.

        Raises:
            ValueError: If this is a classifier, or a rule names a run that does not fit.
        """
        from unnoise.guidance import CFG

        if isinstance(self.denoiser, Recogniser):
            raise ValueError(
                "this run is a classifier, which samples nothing; it guides others: unnoise sample RUN --classifier THIS"
            )
        if scale is not None:
            first = next((i for i, rule in enumerate(rules) if hasattr(rule, "scale")), None)
            rules = [CFG(), *rules] if first is None else list(rules)
            rules[first or 0] = replace(rules[first or 0], scale=scale)  # type: ignore[type-var]
        lent = [rule.lend(self.lender(rule.run).denoiser) if isinstance(rule, Borrowing) and rule.run else rule for rule in rules]
        return Guided(self.denoiser, *lent) if lent else self.denoiser

    def lender(self, run: str) -> Model:
        """The model of another run, whose network a rule of guidance asks; read once."""
        from unnoise.model.read import load

        if run not in self.lenders:
            other = load(run, device=self.device)
            shape, expected = (m.codec.shape(m.domain.shape) for m in (other, self))
            if shape != expected:
                raise ValueError(f"{run} is of samples of shape {tuple(shape)}; one of {tuple(expected)} can guide here")
            self.lenders[run] = other
        return self.lenders[run]

    def draw(self, seeds: Sequence[int], known: Conditions | None = None) -> dict[str, Tensor]:
        """Conditions as the training data have them, each row a function of its seed; `known` as for `conditions`.

        Raises:
            ValueError: If the model is shown pictures, and the data are not there.
        """
        drawn, known = self.domain.draw(Rng(seeds)), self.conds if known is None else known
        return self.with_shown({name: value for name, value in drawn.items() if name in known}, seeds)

    def learnt(self, batch: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        """A batch of the data as objectives take it: x encoded, with what the network is shown of it, keyed by `rng`."""
        shown = self.shown.of(batch["x"], rng) if self.shown else {}
        return {**batch, **shown, "x": self.codec.encode(batch["x"])}

    def varied(self, batch: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        """A batch of the data as a training step takes it: x varied, where the recipe says so, and what is told of it."""
        return {**batch, **self.augment(batch["x"], rng)} if self.augment else dict(batch)

    def with_shown(self, values: Mapping[str, Tensor], seeds: Sequence[int]) -> dict[str, Tensor]:
        """Conditions with what the network is to be shown, where that is lacking: of held-out pictures, drawn by the seeds,
        and of the classes that are asked for.

        Raises:
            ValueError: If the data are not there.
        """
        if self.shown is None or "seen" in values:
            return dict(values)
        rng = Rng(seeds)
        x = others.pictures(self.domain, values, rng)
        return {**values, **self.shown.of(x, rng)}

    def conditions(self, cond: Mapping[str, Value], n: int, known: Conditions | None = None) -> dict[str, Tensor]:
        """Conditions as a person writes them, as tensors of n rows.

        Args:
            cond: As `sample` takes it; a class may stand alone, as {"flag": True}.
            n: How many samples.
            known: The conditions there are; those of the model under its own guidance if not given.

        Raises:
            ValueError: For a name, class or shape that the model does not know.
        """
        known = self.conds if known is None else known
        cond = named(cond, known)
        for name in cond:
            if name not in known:
                raise ValueError(unknown_condition(name, known))
        return {name: of_rows(name, known[name], value, n) for name, value in cond.items()}

    def save(self, folder: Path | str, metadata: Mapping[str, str] | None = None) -> None:
        """Writes recipe, facts and weights into a run folder, from which `load` makes the same model, wherever it is moved.

        The runs that its guidance asks are written beside them, into `guides/`.
        """
        folder = Path(folder)
        self.describe(folder, guides.carried(self, folder))
        write_weights(folder / FILES[2], self.denoiser.state_dict(), metadata)

    def save_pretrained(self, folder: Path | str, *, license: str | None = None, datasets: Sequence[str] = ()) -> None:
        """Writes the model for others into a new folder, which `load` reads anywhere: no optimizer, no paths, a model card.

        What was written is read back and compared before the folder gets its name; `certificate.json` says how.

        Args:
            folder: Absent or empty.
            license, datasets: For the card, as hubs name them.

        Raises:
            ValueError: If the folder is not empty, or the recipe needs files of this machine.
        """
        folder = Path(folder)
        share.save(self, folder, share.Card(folder.resolve().name, license=license, datasets=datasets))

    def describe(self, folder: Path, recipe: Recipe | None = None) -> None:
        """Writes all but the weights: the facts of the data, and the resolved recipe (or another in its place)."""
        disk.make(folder)
        disk.replace(folder / FILES[0], [(recipe or self.recipe.resolved()).dump().encode()])
        disk.replace(folder / FILES[1], [json.dumps(self.domain.facts(), indent=1).encode()])

    def _repr_html_(self) -> str:
        """Its card in short, for a notebook."""
        return card(self)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
