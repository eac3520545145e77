"""The predictions table: its definition, and the rows that a request makes of it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg

from serving.models.model import Outcome, ServedModel

_SCHEMA = """
SELECT pg_advisory_xact_lock(hashtext('serving.predictions'));
CREATE TABLE IF NOT EXISTS predictions (
    prediction_id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    model text NOT NULL,
    version int NOT NULL,
    alias text NOT NULL,
    entity_key text,
    features jsonb NOT NULL,
    prediction jsonb NOT NULL,
    probability double precision,
    latency_ms double precision NOT NULL,
    caller text NOT NULL
);
CREATE INDEX IF NOT EXISTS predictions_by_time ON predictions (model, created_at);
CREATE INDEX IF NOT EXISTS predictions_by_entity ON predictions (model, entity_key);
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pipelines') THEN
        GRANT SELECT ON predictions TO pipelines;
    END IF;
END $$;
"""
# One statement of constant text for any number of rows; writing a group twice, when the answer to a commit was lost,
# changes nothing.
_INSERT = """
INSERT INTO predictions SELECT id, to_timestamp(at), model, version, alias, entity, features::jsonb, prediction::jsonb,
    probability, latency, caller
FROM unnest(%s::uuid[], %s::float8[], %s::text[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::float8[], %s::float8[], %s::text[])
    AS t (id, at, model, version, alias, entity, features, prediction, probability, latency, caller)
ON CONFLICT (prediction_id) DO NOTHING
"""


@dataclass(slots=True)
class PredictionBatch:
    """The predictions of one request."""

    model: ServedModel
    outcome: Outcome
    caller: str
    latency_ms: float
    """From the request's arrival until the predictions were there."""
    created_at: float = field(default_factory=time.time)
    ids: list[UUID] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = [uuid4() for _ in range(self.outcome.rows.count)]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the table's rows, in the order of its columns."""
        model, outcome = self.model, self.outcome
        names = list(outcome.rows.columns)
        records: Iterator[tuple[Any, ...]] = zip(*outcome.rows.columns.values(), strict=True)
        for index, values in enumerate(records):
            yield (
                self.ids[index],
                self.created_at,
                model.name,
                model.version,
                model.alias,
                outcome.rows.entity_keys[index],
                orjson.dumps(dict(zip(names, values, strict=True))).decode(),
                orjson.dumps(outcome.predictions[index]).decode(),
                None if outcome.probabilities is None else outcome.probabilities[index],
                self.latency_ms,
                self.caller,
            )


def create_table(connection: psycopg.Connection) -> None:
    """Create what is missing of the table, and let the pipelines read it."""
    with connection.transaction():
        connection.execute(_SCHEMA)


def insert(connection: psycopg.Connection, batches: Sequence[PredictionBatch]) -> None:
    """Write and commit the rows of all batches, or none."""
    rows = [row for batch in batches for row in batch.rows()]
    with connection.transaction():
        connection.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)], prepare=True)
