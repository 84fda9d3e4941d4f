"""The routes: each takes a validated wish, hands it to the desk, and gives its answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Body, FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

import unnoise
from unnoise.serve import editing, openai, sampling, wishes
from unnoise.serve.desk import Desk, failure
from unnoise.serve.entry import COOKIE, Entry
from unnoise.serve.files import Files
from unnoise.serve.jobs import Refused, clean
from unnoise.serve.store import KINDS, decoded

Id = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
FRAMED = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
ENTERED = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/">
<title>unnoise</title><p><a href="/">unnoise</a></p></html>"""


def application(desk: Desk, entry: Entry, files: Files) -> FastAPI:
    """The application, without its guard."""
    app = FastAPI(title="unnoise", version=unnoise.__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.router.redirect_slashes = False
    _errors(app)
    _doors(app, desk, entry, files)
    _models(app, desk)
    _pictures(app, desk)
    _work(app, desk)
    _jobs(app, desk)
    openai.routes(app, desk)
    described = app.openapi

    def schema() -> dict[str, Any]:
        return described() | {"x-limits": desk.limits.table()}

    app.openapi = schema  # type: ignore[method-assign]
    return app


def body_of(app: FastAPI) -> Callable[[Any], str | None]:
    """What kind of body a request's method and path take, as its route says: POST takes JSON unless it says otherwise."""

    def kind(scope: Any) -> str | None:
        found = None
        for route in app.router.routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                extra = getattr(route, "openapi_extra", None) or {}
                return extra.get("x-body", "json" if scope["method"] == "POST" else "none")
            if match is Match.PARTIAL:
                found = "method"
        return found

    return kind


def _errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, wrong: Refused) -> Response:
        return failure(wrong, request.state.request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, wrong: RequestValidationError) -> Response:
        first = wrong.errors()[0]
        if first["type"] == "json_invalid":
            return failure(Refused(400, "the body is no JSON"), request.state.request)
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        message = re.sub(r"^Value error, ", "", first["msg"])
        return failure(Refused(422, clean(f"{place}: {message}" if place else message), place or None), request.state.request)

    @app.exception_handler(Exception)
    async def failed(request: Request, wrong: Exception) -> Response:
        return failure(Refused(500, "failed; the server's log says why"), request.state.request)

    @app.exception_handler(HTTPException)
    async def http(request: Request, wrong: HTTPException) -> Response:
        told = {404: "there is nothing here", 405: "this path does not take that method"}
        return failure(Refused(wrong.status_code, told.get(wrong.status_code, "not understood")), request.state.request)


def _doors(app: FastAPI, desk: Desk, entry: Entry, files: Files) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def alive() -> str:
        return "ok"

    @app.get("/readyz")
    async def ready() -> Response:
        fine = not desk.draining and desk.engine.is_alive()
        return JSONResponse({"ready": fine}, 200 if fine else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return PlainTextResponse(desk.log.text(), media_type="text/plain; version=0.0.4")

    @app.get("/enter", include_in_schema=False)
    async def enter(key: str = "") -> Response:
        cookie = entry.enter(key) if len(key) <= 100 else None
        if cookie is None:
            raise Refused(401, "this link was used before, or is too old; `unnoise serve` prints a new one when it starts")
        answer = HTMLResponse(ENTERED)
        answer.set_cookie(COOKIE, cookie, max_age=int(desk.limits.session_seconds), path="/", httponly=True, samesite="strict")
        return answer

    @app.post("/v1/link")
    async def link(request: Request, wish: Annotated[dict[str, Any], Body(max_length=0)]) -> dict[str, str]:
        """A new one-use path for a browser, for who has a token."""
        return {"path": f"/enter?key={entry.key()}"}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return files.answer("index.html")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return files.answer(name)

    @app.get("/v1/limits")
    async def limits() -> dict[str, Any]:
        return desk.limits.table()


def _models(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        told = [_told(one) for one in desk.models.served.values()]
        return {"object": "list", "data": [{k: v for k, v in one.items() if k != "schedule"} for one in told]}

    @app.get("/v1/models/{id_}")
    async def model(id_: Id) -> dict[str, Any]:
        return _told(desk.models.get(id_))

    @app.get("/v1/models/{id_}/report", response_class=HTMLResponse)
    async def report(id_: Id) -> Response:
        file = desk.models.get(id_).folder / "report.html"
        if not file.is_file() or file.is_symlink():
            raise Refused(404, "this model has no report; `unnoise report` makes one")
        return HTMLResponse(file.read_bytes(), headers={"content-security-policy": FRAMED})

    @app.get("/v1/models/{id_}/watch", response_class=HTMLResponse)
    def watch(id_: Id) -> Response:
        """How the run's training goes, or went: a page that asks again by itself."""
        from unnoise.task.watch.page import page

        served = desk.models.get(id_)
        try:
            return HTMLResponse(page(served.folder), headers={"content-security-policy": FRAMED})
        except ValueError as wrong:
            raise Refused(404, clean(str(wrong))) from wrong

    @app.get("/v1/models/{id_}/card")
    async def card(id_: Id) -> dict[str, str]:
        file = desk.models.get(id_).folder / "README.md"
        if not file.is_file() or file.is_symlink():
            raise Refused(404, "this model has no card; `unnoise export` makes one")
        return {"markdown": file.read_text("utf-8", "replace")[:200_000]}


def _pictures(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/pictures", status_code=201, openapi_extra={"x-body": "picture", "requestBody": _bytes()})
    async def upload(request: Request) -> dict[str, Any]:
        """A picture's bytes in; its id out. It is decoded, freed of its metadata, and kept as PNG."""
        import asyncio

        content, type_ = await request.body(), request.headers["content-type"].partition(";")[0].strip().lower()
        made, width, height, channels = await asyncio.to_thread(decoded, content, type_, desk.limits)
        one = desk.store.add(request.state.client, made, "image/png", width, height, channels)
        return {"id": one.id, "width": width, "height": height, "channels": channels, "expires": desk.limits.keep_seconds}

    @app.get("/v1/pictures/{id_}", response_class=Response)
    async def picture(request: Request, id_: Id, download: bool = False) -> Response:
        one = desk.store.get(id_, request.state.client)
        headers = {"cache-control": "private, max-age=600, immutable"}
        headers |= {"content-disposition": f'attachment; filename="{one.id}.png"'} if download else {}
        return Response(one.content, media_type="image/png", headers=headers)

    @app.get("/v1/arrays/{id_}", response_class=Response)
    async def array(request: Request, id_: Id) -> Response:
        one = desk.store.get(id_, request.state.client, "application/x-npy")
        return Response(one.content, media_type=one.type, headers={"content-disposition": f'attachment; filename="{one.id}.npy"'})


def _work(app: FastAPI, desk: Desk) -> None:
    @app.post("/v1/sample")
    async def sample(request: Request, wish: wishes.Sample) -> Response:
        """New samples."""
        return await desk.ask(request, wish, sampling.sample)

    @app.post("/v1/inpaint")
    async def inpaint(request: Request, wish: wishes.Inpaint) -> Response:
        """What is white in a mask painted anew."""
        return await desk.ask(request, wish, editing.edit)

    @app.post("/v1/upscale")
    async def upscale(request: Request, wish: wishes.Upscale) -> Response:
        """A picture several times as large."""
        return await desk.ask(request, wish, editing.edit)

    @app.post("/v1/restore")
    async def restore(request: Request, wish: wishes.Restore) -> Response:
        """The picture without its damage."""
        return await desk.ask(request, wish, editing.edit)

    @app.post("/v1/vary")
    async def vary(request: Request, wish: wishes.Vary) -> Response:
        """Others like it."""
        return await desk.ask(request, wish, editing.edit)

    @app.post("/v1/interpolate")
    async def interpolate(request: Request, wish: wishes.Interpolate) -> Response:
        """A way from one picture to another."""
        return await desk.ask(request, wish, editing.interpolate)

    @app.post("/v1/likelihood")
    async def likelihood(request: Request, wish: wishes.Likelihood) -> Response:
        """How probable a picture is under the model."""
        return await desk.ask(request, wish, editing.likelihood)


def _jobs(app: FastAPI, desk: Desk) -> None:
    @app.get("/v1/jobs")
    async def jobs(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": [desk.told(job) for job in desk.jobs.of(request.state.client)]}

    @app.get("/v1/jobs/{id_}")
    async def job(request: Request, id_: Id) -> dict[str, Any]:
        return desk.told(desk.jobs.get(id_, request.state.client))

    @app.delete("/v1/jobs/{id_}")
    async def cancel(request: Request, id_: Id) -> dict[str, Any]:
        one = desk.jobs.get(id_, request.state.client)
        desk.stop(one)
        return desk.told(one)

    @app.get("/v1/jobs/{id_}/events", response_class=Response)
    async def events(request: Request, id_: Id) -> Response:
        """What happens in a job, as server-sent events: state, progress, preview, and in the end result, failed or cancelled."""
        return desk.stream(desk.jobs.get(id_, request.state.client))


def _told(served: Any) -> dict[str, Any]:
    return {"id": served.id, "object": "model", "loaded": served.model is not None, **served.facts}


def _bytes() -> dict[str, Any]:
    return {"required": True, "content": {type_: {"schema": {"type": "string", "format": "binary"}} for type_ in KINDS}}
