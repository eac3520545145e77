"""Batches: an Arrow or Parquet body of any number of rows is scored as a stream, in memory that does not grow with it.

The body is first written to a file and gone through once, so that what is wrong with it is said before anything is
scored. Then it is read, scored and answered chunk by chunk, all by the version that was chosen at the beginning.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import quote

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
    """Answer `POST /models/{model}/batch`."""
    ask = Ask(model, request.parameter("version"), request.parameter("alias"))
    served = plane.choose(ask, request, None)
    request.model = served
    try:
        form = _FORMS[check_content(request, _FORMS)]
        media_type = wanted_type(request.header("accept"))
        file = await spool(request, plane.settings.data_dir, plane.settings.max_batch_bytes)
        run = _Run(plane, request, served, await asyncio.to_thread(Body, form, file))
        answer = await run.begin(MEDIA_TYPES[media_type])
    except RequestError as error:
        plane.metrics.of(served).failed(error.status, time.perf_counter() - request.started)
        raise
    return HttpResponse(200, answer, media_type, _headers(served))


class _Run:
    """One body on its way through the model."""

    def __init__(self, plane: Plane, request: HttpRequest, model: ServedModel, body: Body) -> None:
        self._plane = plane
        self._request = request
        self._model = model
        self._body = body
        self._rows = 0
        self._gone = asyncio.ensure_future(request.gone())

    async def begin(self, form: Format) -> AsyncIterator[bytes]:
        """Check the whole body, score its first chunk, and return the answer to be.

        Raises:
            RequestError: the body does not fit the model, or the model failed on the first chunk.
        """
        try:
            model, schema = self._model, self._body.schema
            check_schema(schema, model.signature, model.entity_key)
            async for rows in self._checked():
                self._rows += rows.count
            answers = self._answers()
            first = await anext(answers, None)
            writer = AnswerWriter(form, model, self._rows, with_key=model.entity_key in schema.names, first=first)
        except BaseException:
            self._gone.cancel()
            raise
        return self._stream(form, writer, first, answers)

    async def _stream(
        self, form: Format, writer: AnswerWriter, first: Answer | None, answers: AsyncIterator[Answer]
    ) -> AsyncIterator[bytes]:
        metrics = self._plane.metrics.of(self._model)
        done = 0
        try:
            if first is not None:
                yield await asyncio.to_thread(writer.add, first)
                done = first.rows.count
            async for answer in answers:
                yield await asyncio.to_thread(writer.add, answer)
                done += answer.rows.count
            yield await asyncio.to_thread(writer.finish)
            metrics.answered(time.perf_counter() - self._request.started)
        except Exception as exc:
            status = exc.status if isinstance(exc, RequestError) else 500
            metrics.failed(status, time.perf_counter() - self._request.started)
            log.error(
                "%s: the answer of version %d to a batch ends after %d of %d rows: %s",
                self._model.name,
                self._model.version,
                done,
                self._rows,
                exc,
            )
            if form is Format.STREAM:
                yield BROKEN_STREAM
            raise
        finally:
            self._gone.cancel()

    async def _answers(self) -> AsyncIterator[Answer]:
        async for rows in self._checked():
            yield await self._plane.score(self._model, rows, self._request)

    async def _checked(self) -> AsyncIterator[Rows]:
        """Yield the body as checked rows, read and checked outside of the event loop."""
        chunks = self._check()
        while (rows := await asyncio.to_thread(next, chunks, None)) is not None:
            if self._gone.done():
                raise RequestError(400, "the connection was closed before the answer was there")
            yield rows

    def _check(self) -> Iterator[Rows]:
        first = 0
        for chunk in self._body.chunks():
            yield self._model.signature.check_columns(chunk.columns, chunk.count, self._model.entity_key, first)
            first += chunk.count


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
