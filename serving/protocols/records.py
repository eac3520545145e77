"""This server's own protocol: records in, a prediction and its id for each out."""

from collections.abc import Sequence
from typing import Any

from serving.errors import RequestError, show
from serving.http.body import read_json
from serving.http.routes import Route
from serving.http.wire import HttpRequest, HttpResponse, json_answer
from serving.models.model import ServedModel
from serving.models.signature import Rows
from serving.plane.plane import Answer, Ask, Plane

_SHAPE = '{"records": [{"field": value, …}, …]}'


class Records:
    """The records of a request, not looked at yet."""

    __slots__ = ("_records",)

    def __init__(self, records: list[Any]) -> None:
        """Take parsed JSON values, one a record."""
        self._records = records

    def routing_key(self, entity_key: str | None) -> str | None:
        """See `Payload.routing_key`."""
        first = self._records[0]
        value = first.get(entity_key) if entity_key is not None and type(first) is dict else None
        return None if value is None else str(value)

    def rows(self, model: ServedModel) -> Rows:
        """See `Payload.rows`."""
        return model.signature.check(self._records, model.entity_key)


async def predict(plane: Plane, request: HttpRequest, model: str) -> HttpResponse:
    """Answer `POST /models/{model}/predict`."""
    plane.catalog.find(model)  # a model that is not there is said before anything about the body
    payload = Records(parse_records(await read_json(request, plane.settings.max_body_bytes)))
    ask = Ask(model, request.parameter("version"), request.parameter("alias"))
    return json_answer(render(await plane.infer(ask, payload, request)))


def parse_records(content: Any) -> list[Any]:
    """Return the records in a body of the shape `{"records": [...]}`.

    Raises:
        RequestError: 400, it is not of that shape.
    """
    if not isinstance(content, dict) or "records" not in content:
        raise RequestError(400, f"expected a body like {_SHAPE}, got {_describe(content)}")
    unknown = [name for name in content if name != "records"]
    if unknown:
        raise RequestError(400, f'unknown key {show(unknown[0])} beside "records"; expected a body like {_SHAPE}')
    records = content["records"]
    if not isinstance(records, list) or not records:
        got = "an empty list" if records == [] else show(records)
        raise RequestError(400, f'"records": expected a list of at least one record, got {got}')
    return records


def render(answer: Answer) -> dict[str, Any]:
    """Return the body of the answer."""
    model, scores = answer.model, answer.scores
    probabilities: Sequence[float | None] = scores.probabilities or [None] * answer.rows.count
    return {
        "model": model.name,
        "version": model.version,
        "role": model.role,
        "predictions": [
            {"prediction_id": identity, "prediction": prediction, "probability": probability}
            for identity, prediction, probability in zip(
                answer.ids.texts(), scores.predictions, probabilities, strict=True
            )
        ],
    }


def _describe(content: Any) -> str:
    if not isinstance(content, dict):
        return show(content)
    return f"an object with {', '.join(show(name) for name in list(content)[:5])}" if content else "an empty object"


ROUTES = [Route("POST", "/models/{model}/predict", "predict", predict)]
