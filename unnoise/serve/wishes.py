"""What clients may ask for: every field with its bounds, and the bounds of their product."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unnoise.serve.jobs import Refused
from unnoise.serve.limits import LIMITS

LARGEST = 2**53 - 1  # what JSON of every language can hold
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
Option = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Seed = Annotated[int, Field(ge=0, le=LARGEST, strict=True)]
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST, strict=True)]
One = Annotated[str, Field(max_length=LIMITS.text)] | Whole | Annotated[float, Field(allow_inf_nan=False)] | None
Value = One | Annotated[list[One | Annotated[list[Number], Field(max_length=4096)]], Field(max_length=4096)]
Noise = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False)]


class Wish(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Id | None = Field(None, description="its id; may be left out where one is served")
    seed: Seed = Field(0, description="of the first result; the others take the seeds after it")
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=LIMITS.n)] | None = Field(
        None, description="instead of seed and n"
    )
    n: int = Field(1, ge=1, le=LIMITS.n, strict=True)
    steps: Annotated[int, Field(ge=1, le=LIMITS.steps, strict=True)] | None = Field(None, description="times in the walk")
    cond: Annotated[dict[Name, Value], Field(max_length=32)] | None = Field(
        None, description="one value for all results, or a list of one for each; null is a condition's absence"
    )
    format: Literal["png", "npy"] | None = None
    wait: bool = Field(True, description="answer when done; otherwise at once, with a job")
    detached: bool = Field(False, description="a job goes on when nobody watches it any longer")
    previews: bool | None = None
    inside: bool = Field(False, description="previews of every step, with x_t and the noise that is predicted in it")

    @model_validator(mode="after")
    def _consistent(self) -> Wish:
        if self.seeds is not None and "n" in self.model_fields_set and self.n != len(self.seeds):
            raise ValueError(f"n is {self.n} with {len(self.seeds)} seeds: one seed a result is expected")
        if self.seed + self.n - 1 > LARGEST:
            raise ValueError(f"seed + n is beyond {LARGEST}")
        return self

    @property
    def listed(self) -> list[int]:
        """The seeds."""
        return self.seeds or list(range(self.seed, self.seed + self.n))

    @property
    def shown(self) -> bool:
        """Whether previews are made."""
        return self.inside or (not self.wait if self.previews is None else self.previews)


class Sample(Wish):
    """New samples."""

    sampler: Name | None = Field(None, description="by name, as the model's `samplers` list them")
    sampler_options: Annotated[dict[Option, bool | Number | Name], Field(max_length=16)] = {}
    scale: Number | None = Field(None, description="of guidance, classifier-free if no other; 1 is none")
    interval: tuple[Noise, Annotated[float, Field(gt=0, le=1e6)]] | None = Field(
        None, description="noise levels that it guides at"
    )
    classifier: Id | None = Field(None, description="a served classifier of noised data that guides")


class Edit(Wish):
    """Something made of a picture."""

    picture: Id = Field(description="an uploaded picture's id, or a result's")
    n: int = Field(4, ge=1, le=LIMITS.n, strict=True)
    method: Annotated[str, Field(pattern=r"^([A-Za-z0-9]{1,40}(:[A-Za-z_0-9.,=]{0,80})?)?$")] = ""
    noise: Noise | None = Field(None, description="of the picture: its standard deviation in levels of 255")


class Inpaint(Edit):
    """What is white in a mask painted anew."""

    mask: Id = Field(description="a picture of the same size: white is repainted, black kept")


class Upscale(Edit):
    """A picture several times as large."""

    factor: int = Field(ge=2, le=LIMITS.factor, strict=True)


class Vary(Edit):
    """Others like it."""

    strength: float = Field(gt=0, le=1, allow_inf_nan=False, description="0 the same, 1 anything")


class Plain(BaseModel):
    """A damage without numbers."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["denoise", "colorize"]

    def text(self) -> str:
        return self.kind


class Deblur(BaseModel):
    """Of a Gaussian blur; its standard deviation in pixels."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["deblur"]
    std: float = Field(gt=0, le=20, allow_inf_nan=False)

    def text(self) -> str:
        return f"deblur:gaussian:{self.std:g}"


class Motion(BaseModel):
    """Of a motion blur; pixels and degrees."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["motion"]
    length: float = Field(ge=1, le=64, allow_inf_nan=False)
    angle: float = Field(0, ge=-360, le=360, allow_inf_nan=False)

    def text(self) -> str:
        return f"deblur:motion:{self.length:g}:{self.angle:g}"


class Jpeg(BaseModel):
    """Of a JPEG's compression."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["jpeg"]
    quality: int = Field(ge=1, le=100, strict=True)

    def text(self) -> str:
        return f"jpeg:{self.quality}"


class Quantize(BaseModel):
    """Of few levels."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["quantize"]
    levels: int = Field(ge=2, le=256, strict=True)

    def text(self) -> str:
        return f"quantize:{self.levels}"


class Clip(BaseModel):
    """Of values cut off; black is -1 and white 1."""

    model_config = ConfigDict(extra="forbid")
    kind: Literal["clip"]
    low: float = Field(ge=-1, le=1, allow_inf_nan=False)
    high: float = Field(ge=-1, le=1, allow_inf_nan=False)

    def text(self) -> str:
        return f"clip:{self.low:g}:{self.high:g}"


class Restore(Edit):
    """The picture without its damage."""

    damage: Annotated[Plain | Deblur | Motion | Jpeg | Quantize | Clip, Field(discriminator="kind")]


class Interpolate(Wish):
    """A way from one picture to another."""

    pictures: Annotated[list[Id], Field(min_length=2, max_length=2)]
    frames: int = Field(16, ge=2, le=LIMITS.frames, strict=True)


class Likelihood(Wish):
    """How probable a picture is under the model."""

    picture: Id
    method: Literal["flow", "bound"] = "flow"


class Generation(BaseModel):
    """OpenAI's request for images; what it has beyond this is not taken."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    prompt: Annotated[str, Field(max_length=LIMITS.text)] = Field(
        "", description="a class name, or NAME=VALUE with commas between"
    )
    model: Id | None = None
    n: Annotated[int, Field(ge=1, le=LIMITS.n)] | None = 1
    size: Annotated[str, Field(pattern=r"^(auto|\d{1,5}x\d{1,5})$")] | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    quality: Annotated[str, Field(max_length=20)] | None = None
    style: Annotated[str, Field(max_length=20)] | None = None
    background: Annotated[str, Field(max_length=20)] | None = None
    moderation: Annotated[str, Field(max_length=20)] | None = None
    user: Annotated[str, Field(max_length=LIMITS.text)] | None = None
    seed: Seed = 0


def check_work(values: int, rows: int, steps: int, most: int) -> None:
    """The product of what is asked for; Refused where it is more than `most` though each number alone is not too much."""
    if values * rows * steps > most:
        raise Refused(422, f"{rows} results of {values} values in {steps} steps: their product may be {most} at most", "n")


def plain(wish: Wish) -> dict[str, Any]:
    """What was asked for, without what says how to answer."""
    return wish.model_dump(exclude={"wait", "detached", "previews", "inside", "format"}, exclude_none=True)
