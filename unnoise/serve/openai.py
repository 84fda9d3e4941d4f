"""The routes of OpenAI's images, so that clients written for them work: a prompt is a class name, or names and values."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from pydantic import ValidationError

from unnoise.serve import editing, sampling, wishes
from unnoise.serve.desk import Desk
from unnoise.serve.jobs import Refused, clean
from unnoise.serve.models import Served
from unnoise.serve.store import decoded

if TYPE_CHECKING:
    from starlette.datastructures import FormData, UploadFile

FORM = {
    "type": "object",
    "required": ["image", "mask"],
    "properties": {
        "image": {"type": "string", "format": "binary"},
        "mask": {"type": "string", "format": "binary", "description": "where it is transparent, the image is painted anew"},
        "prompt": {"type": "string"},
        "model": {"type": "string"},
        "n": {"type": "integer"},
    },
}


def routes(app: FastAPI, desk: Desk) -> None:
    """Adds them."""

    @app.post("/v1/images/generations")
    async def generations(request: Request, wish: wishes.Generation) -> dict[str, Any]:
        """Pictures for a prompt."""
        served = await asyncio.to_thread(desk.models.ready, wish.model)
        _check_size(served, wish.size)
        asked = wishes.Sample.model_validate(_fields(served, wish))
        return await _answer(desk, request, asked, sampling.sample)

    @app.post(
        "/v1/images/edits",
        openapi_extra={"x-body": "form", "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
    )
    async def edits(request: Request) -> dict[str, Any]:
        """A picture painted anew where the mask is transparent."""
        limits = desk.limits
        try:
            form = await request.form(max_files=2, max_fields=16, max_part_size=limits.json_bytes)
        except Exception as error:
            raise Refused(400, "the body is no form") from error
        fields = {key: value for key, value in form.items() if isinstance(value, str) and key not in ("image", "mask")}
        try:
            wish = wishes.Generation(**fields)  # type: ignore[arg-type]
        except ValidationError as wrong:
            first = wrong.errors()[0]
            raise Refused(422, clean(f"{first['loc'][0]}: {first['msg']}"), str(first["loc"][0])) from None
        served = await asyncio.to_thread(desk.models.ready, wish.model)
        _check_size(served, wish.size)
        ids = {}
        for name in ("image", "mask"):
            upload = _file(form, name)
            content = await upload.read(limits.picture_bytes + 1)
            if len(content) > limits.picture_bytes:
                raise Refused(413, f"{name}: at most {limits.picture_bytes} bytes are taken", name)
            made, *sides = await asyncio.to_thread(_read, content, (upload.content_type or "").lower(), name == "mask", desk)
            ids[name] = desk.store.add(request.state.client, made, "image/png", *sides).id
        named = {"picture": ids["image"], "mask": ids["mask"]}
        asked = wishes.Inpaint.model_validate(_fields(served, wish) | named)
        return await _answer(desk, request, asked, editing.edit)


def cond_of(served: Served, prompt: str) -> dict[str, Any]:
    """What a prompt says: the name of a class, or NAME=VALUE with commas between; nothing, where it is empty.

    Raises:
        Refused: If it says something else.
    """
    prompt, conditions = prompt.strip(), served.facts["conditions"]
    classed = [one for one in conditions if prompt in one.get("classes", ())]
    if classed:
        return {classed[0]["name"]: prompt}
    if not prompt:
        return {}
    found: dict[str, Any] = {}
    for part in prompt.split(","):
        name, equals, value = (text.strip() for text in part.partition("="))
        if not equals or name not in [one["name"] for one in conditions]:
            classes: list[str] = next((one["classes"][:20] for one in conditions if one.get("classes")), [])
            raise Refused(422, f"prompt: expected a class ({', '.join(classes)}) or NAME=VALUE", "prompt")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
        if any(value in one.get("classes", ()) for one in conditions if one["name"] == name):
            found[name] = value
    return found


def _fields(served: Served, wish: wishes.Generation) -> dict[str, Any]:
    return {"model": served.id, "n": wish.n or 1, "seed": wish.seed, "cond": cond_of(served, wish.prompt)}


async def _answer(desk: Desk, request: Request, asked: wishes.Wish, make: Any) -> dict[str, Any]:
    import json

    answer = await desk.ask(request, asked, make)
    told = json.loads(bytes(answer.body))
    pictures = [desk.store.get(one["id"], request.state.client).content for one in told["images"] if "url" in one]
    if not pictures:
        raise Refused(422, "this model's samples are no pictures; use /v1/sample", "model")
    return {"created": int(time.time()), "data": [{"b64_json": base64.b64encode(one).decode()} for one in pictures]}


def _check_size(served: Served, size: str | None) -> None:
    height, width = served.facts["shape"][-2:]
    if size not in (None, "auto", f"{width}x{height}"):
        raise Refused(422, f"size: this model makes {width}x{height}", "size")


def _file(form: FormData, name: str) -> UploadFile:
    value = form.get(name)
    if value is None or isinstance(value, str):
        raise Refused(422, f"{name}: a file is expected", name)
    return value


def _read(content: bytes, type_: str, mask: bool, desk: Desk) -> tuple[bytes, int, int, int]:
    """An uploaded picture as it is kept, its width, height and channels; of a mask what OpenAI means by it."""
    made, width, height, channels = decoded(content, type_, desk.limits)
    return (_transparent(made), width, height, 1) if mask else (made, width, height, channels)


def _transparent(content: bytes) -> bytes:
    """Where a picture is transparent, as a mask: white there, black elsewhere."""
    import io

    import numpy as np
    from PIL import Image

    from unnoise.domain.save import COLOURS, png

    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3:]
    if (alpha == 255).all():
        raise Refused(422, "mask: no pixel of it is transparent; what is to be painted anew must be", "mask")
    return png(255 - alpha, COLOURS["grey"], {})
