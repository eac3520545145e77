"""Making and revoking keys over HTTP. Whether a caller may is decided at the gate."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from serving.errors import RequestError
from serving.http.body import read_json
from serving.http.wire import JSON, HttpRequest
from serving.keys.key import NewKey, Scope
from serving.keys.keyring import Keyring

_MAX_BODY_BYTES = 64 * 1024


class KeyAnswer(BaseModel):
    """A key, without what its holder sends."""

    name: str
    scopes: list[Scope]
    rate: float | None = Field(description="Requests a second; null: no limit.")
    created: datetime | None = Field(description="Null for a key of the platform itself.")
    builtin: bool = Field(description="Whether it is a key of the platform itself, which cannot be revoked here.")


class KeysAnswer(BaseModel):
    """All keys."""

    keys: list[KeyAnswer]


class NewKeyAnswer(KeyAnswer):
    """A key that was just made."""

    key: str = Field(description="What its holder sends, as `Authorization: Bearer KEY`. It is told this once.")


class RevokedAnswer(BaseModel):
    """A key that is gone."""

    revoked: str = Field(description="Its name.")


class ErrorAnswer(BaseModel):
    """Why a request was not answered."""

    error: str


def keys_router(keyring: Keyring) -> APIRouter:
    """Return the pages of the keys; they raise `RequestError`."""
    router = APIRouter(tags=["keys"], responses=_errors(401, 403))

    @router.get("/keys", summary="All keys: who holds one and what it allows", response_model=KeysAnswer)
    async def keys() -> Any:
        return {"keys": [key.describe() for key in keyring.all()]}

    @router.post(
        "/keys",
        summary="Make a key",
        status_code=201,
        response_model=NewKeyAnswer,
        responses=_errors(400, 409, 413, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": NewKey.model_json_schema()}}}},
    )
    async def create(request: Request, response: Response) -> Any:
        key, secret = await run_in_threadpool(keyring.create, await _read(request))
        response.headers["Cache-Control"] = "no-store"
        return key.describe() | {"key": secret}

    @router.delete(
        "/keys/{name}", summary="Revoke a key", response_model=RevokedAnswer, responses=_errors(404, 409, 503)
    )
    async def revoke(name: str) -> Any:
        await run_in_threadpool(keyring.revoke, name)
        return {"revoked": name}

    return router


async def _read(request: Request) -> NewKey:
    state = request.scope["state"]
    received = HttpRequest(request.scope, request.receive, state["caller"], state["request_id"], state["started"])
    try:
        return NewKey.model_validate(await read_json(received, _MAX_BODY_BYTES))
    except ValidationError as exc:
        findings = exc.errors(include_input=False, include_url=False)
        raise RequestError(422, "; ".join(f"{_place(f['loc'])}: {_said(f['msg'])}" for f in findings[:5])) from exc


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the body"


def _said(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "expected")


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    descriptions = {
        400: "Not JSON.",
        401: "No valid API key.",
        403: "The key lacks the scope `admin`.",
        404: "There is no such key.",
        409: "The name is taken, or it is a key of the platform itself.",
        413: "The body is too large.",
        415: "Not `application/json`.",
        422: "A field is wrong; the message names it.",
        503: "The keys cannot be written.",
    }
    return {status: {"model": ErrorAnswer, "description": descriptions[status]} for status in statuses}
