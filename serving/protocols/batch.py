"""Batches: an Arrow or Parquet body of any number of rows is scored as a stream, in memory that does not grow with it.

The body is first written to a file and gone through once, so that what is wrong with it is said before anything is
scored. Then it is read, scored and answered chunk by chunk, all by the version that was chosen at the beginning.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar
from urllib.parse import quote

from contract import ALIAS_CANARY, ALIAS_CHAMPION
from serving.errors import RequestError, show
from serving.http.body import check_content
from serving.http.routes import Route
from serving.http.wire import HttpRequest, HttpResponse
from serving.models.model import ServedModel
from serving.models.signature import Rows
from serving.plane.plane import Answer, Ask, Plane
from serving.protocols.columnar.reading import Body, Format
from serving.protocols.columnar.types import check_schema
from serving.protocols.columnar.writing import BROKEN_STREAM, AnswerWriter
from serving.protocols.spool import spool

log = logging.getLogger(__name__)

T = TypeVar("T")

MEDIA_TYPES: Mapping[str, Format] = {
    "application/vnd.apache.arrow.stream": Format.STREAM,
    "application/vnd.apache.arrow.file": Format.FILE,
    "application/vnd.apache.parquet": Format.PARQUET,
}
"""What is taken and what can be answered; the first one is the default of an answer."""
_FORMS = {**MEDIA_TYPES, "application/x-parquet": Format.PARQUET}
_DEFAULT = next(iter(MEDIA_TYPES))
_ANY = ("*/*", "application/*")


async def batch(plane: Plane, request: HttpRequest, model: str) -> HttpResponse:
    """Answer `POST /models/{model}/batch`. As with single requests the champion answers what a canary fails on that was
    not asked for by name, if it fails on the first chunk."""
    ask = Ask(model, request.parameter("version"), request.parameter("alias"))
    request.model = plane.choose(ask, request, None)
    try:
        form = _FORMS[check_content(request, _FORMS)]
        media_type = wanted_type(request.header("accept"))
        file = await spool(request, plane.settings.data_dir, plane.settings.max_batch_bytes)
        try:
            answer = await _begun(plane, request, ask, form, file, answered=MEDIA_TYPES[media_type])
        except BaseException:
            file.close()
            raise
    except RequestError as error:
        _count_failure(plane, request, error)
        raise
    return HttpResponse(200, answer, media_type, _headers(request.model))


async def _begun(
    plane: Plane, request: HttpRequest, ask: Ask, form: Format, file: IO[bytes], *, answered: Format
) -> AsyncIterator[bytes]:
    try:
        return await _Run(plane, request).begin(form, file, answered)
    except RequestError as error:
        named = ask.version is not None or ask.alias is not None
        if error.status < 500 or named or request.model.role != ALIAS_CANARY:
            raise
        _count_failure(plane, request, error)
    request.model = plane.choose(Ask(ask.model, alias=ALIAS_CHAMPION), request, None)
    return await _Run(plane, request).begin(form, file, answered)


def _count_failure(plane: Plane, request: HttpRequest, error: RequestError) -> None:
    plane.metrics.of(request.model).failed(error.status, time.perf_counter() - request.started)


class _Run:
    """One body on its way through the model. What needs no event loop is done by a thread of its own."""

    def __init__(self, plane: Plane, request: HttpRequest) -> None:
        self._plane = plane
        self._request = request
        self._model: ServedModel = request.model
        self._rows = 0
        self._body: Body
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._gone = asyncio.ensure_future(request.gone())

    async def begin(self, form: Format, file: IO[bytes], answered: Format) -> AsyncIterator[bytes]:
        """Check the whole body, score its first chunk, and return the answer to be.

        Args:
            form: of the body.
            file: the body; closed at the end of the answer.
            answered: the form of the answer.

        Raises:
            RequestError: the body does not fit the model, or the model failed on the first chunk.
        """
        try:
            self._body = await self._threaded(Body, form, file)
            model, names = self._model, self._body.names
            check_schema(self._body.schema, model.signature, model.entity_key)
            async for rows in self._checked():
                self._rows += rows.count
            answers = self._answers()
            first = await anext(answers, None)
            writer = AnswerWriter(answered, model, self._rows, with_key=model.entity_key in names, first=first)
        except BaseException:
            self._end()
            raise
        return self._stream(answered, writer, first, answers)

    async def _stream(
        self, form: Format, writer: AnswerWriter, first: Answer | None, answers: AsyncIterator[Answer]
    ) -> AsyncIterator[bytes]:
        model, metrics = self._model, self._plane.metrics.of(self._model)
        done = 0
        try:
            if first is not None:
                yield await self._threaded(writer.add, first)
                done = first.rows.count
            async for answer in answers:
                yield await self._threaded(writer.add, answer)
                done += answer.rows.count
            yield await self._threaded(writer.finish)
            metrics.answered()
            metrics.lasted(time.perf_counter() - self._request.started)
        except Exception as exc:
            status = exc.status if isinstance(exc, RequestError) else 500
            metrics.failed(status, time.perf_counter() - self._request.started)
            told = "%s: the answer of version %d to a batch ends after %d of %d rows: %s"
            level = logging.ERROR if status >= 500 else logging.WARNING
            log.log(level, told, model.name, model.version, done, self._rows, exc)
            if form is Format.STREAM:
                yield BROKEN_STREAM
            raise
        finally:
            self._end()
            self._body.close()

    async def _answers(self) -> AsyncIterator[Answer]:
        async for rows in self._checked():
            yield await self._plane.score(self._model, rows, self._request)

    async def _checked(self) -> AsyncIterator[Rows]:
        """Yield the body as checked rows; the next ones are read while the caller works on some."""
        chunks = self._check()
        upcoming = self._threaded(next, chunks, None)
        while (rows := await upcoming) is not None:
            if self._gone.done():
                raise RequestError(400, "the connection was closed before the answer was there")
            upcoming = self._threaded(next, chunks, None)
            yield rows

    def _check(self) -> Iterator[Rows]:
        first = 0
        for chunk in self._body.chunks():
            yield self._model.signature.check_columns(chunk.columns, chunk.count, self._model.entity_key, first)
            first += chunk.count

    def _threaded(self, function: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _end(self) -> None:
        self._gone.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)


def wanted_type(accept: str) -> str:
    """Return the media type of the answer that an `Accept` header asks for.

    Raises:
        RequestError: 406, there is none that could be answered.
    """
    offers: list[tuple[float, str]] = []
    for part in filter(None, (part.strip().lower() for part in accept.split(","))):
        name, *parameters = (word.strip() for word in part.split(";"))
        quality = next((_quality(word[2:]) for word in parameters if word.startswith("q=")), 1.0)
        form = _FORMS.get(name)
        if quality > 0 and (form is not None or name in _ANY):
            offers.append((-quality, _DEFAULT if form is None else _name(form)))
    if not accept.strip():
        return _DEFAULT
    if not offers:
        raise RequestError(406, f"Accept: the answer can be {', '.join(MEDIA_TYPES)}, not {show(accept)}")
    return min(offers, key=lambda offer: offer[0])[1]


def _name(form: Format) -> str:
    return next(name for name, known in MEDIA_TYPES.items() if known is form)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _headers(model: ServedModel) -> list[tuple[bytes, bytes]]:
    about = {"x-model": model.name, "x-model-version": str(model.version), "x-model-role": model.role}
    return [(name.encode(), quote(value).encode()) for name, value in about.items()]


ROUTES = [Route("POST", "/models/{model}/batch", "predict", batch)]
