"""A job in parts: its rows in Parquet files of some thousand rows, and a file of scores for each.

    <directory>/job.json                what scores, and how many rows there are; written last, so it says "whole"
    <directory>/model/                  the version as it was downloaded
    <directory>/input/00000.parquet     the entity key and the features
    <directory>/output/00000.parquet    the scores; it appears at once, so it is either there or not

A part that has its scores is done. So an interrupted job goes on where it stopped, and a part that is computed twice,
by two workers of Spark or after a crash, changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.batch.model import Scorer
from pipelines.data.dataset import typed
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.models.scoring import predict

_JOB = "job.json"


@dataclass(frozen=True)
class Job:
    """What is to be done, as `job.json` tells it."""

    directory: Path
    scorer: Scorer
    rows: int
    part_rows: int

    @property
    def parts(self) -> list[int]:
        """The numbers of all parts."""
        return list(range(-(-self.rows // self.part_rows)))

    @property
    def undone(self) -> list[int]:
        """The numbers of the parts without scores."""
        return [number for number in self.parts if not self.output(number).exists()]

    def rows_of(self, number: int) -> int:
        """How many rows a part has."""
        return min(self.part_rows, self.rows - number * self.part_rows)

    def input(self, number: int) -> Path:
        """The file with the rows of a part."""
        return self.directory / "input" / f"{number:05}.parquet"

    def output(self, number: int) -> Path:
        """The file with the scores of a part."""
        return self.directory / "output" / f"{number:05}.parquet"

    def scores(self) -> Iterator[pa.Table]:
        """The scores of all parts, in the order of the rows."""
        return (pq.read_table(self.output(number)) for number in self.parts)


def output_schema(scorer: Scorer) -> pa.Schema:
    """The columns of the scores. A classification's prediction is the class, a regression's the value."""
    prediction = pa.int64() if scorer.task == "classification" else pa.float64()
    return pa.schema(
        [
            ("entity_key", pa.string()),
            ("prediction", prediction),
            ("probability", pa.float64()),
            ("model_version", pa.int32()),
            ("scored_at", pa.timestamp("us", "UTC")),
        ]
    )


def open_job(directory: Path) -> Job | None:
    """The job in `directory`, if it is whole."""
    try:
        told: dict[str, Any] = json.loads((directory / _JOB).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Job(directory, Scorer.from_dict(told["scorer"]), told["rows"], told["part_rows"])


def make_job(directory: Path, scorer: Scorer, batches: Iterable[pa.RecordBatch], part_rows: int, where: str) -> Job:
    """Write the rows of `batches` as parts into `directory`, which holds the model already.

    StepError about `where` if there are no rows, or if one lacks its entity key or a value that the model needs.
    """
    (directory / "input").mkdir()
    (directory / "output").mkdir()
    rows = 0
    for number, part in enumerate(_regrouped(batches, part_rows)):
        _check_missing(part, scorer, rows, where)
        pq.write_table(part, directory / "input" / f"{number:05}.parquet")
        rows += part.num_rows
    if not rows:
        raise StepError("it has no rows", where=where, do="there is nothing to score: correct --from, or fill it")
    told = {"scorer": scorer.to_dict(), "rows": rows, "part_rows": part_rows}
    (directory / _JOB).write_text(json.dumps(told), encoding="utf-8")
    return Job(directory, scorer, rows, part_rows)


def score_part(job: Job, number: int) -> int:
    """Compute the scores of a part and write them; how many. StepError if the model is not what was registered, or
    cannot answer."""
    scorer = job.scorer
    model = _load(job.directory / "model", scorer.digest, scorer.title)
    rows = pq.read_table(job.input(number))
    keys = rows.column(scorer.entity_key)
    x = typed(rows.to_pandas(), scorer.features)
    try:
        answer = predict(model, x, scorer.title)
        prediction = model.predict(x) if scorer.task == "classification" else answer
    except StepError:
        raise
    except Exception as error:
        raise StepError(
            f"it cannot answer: {type(error).__name__}: {error}".splitlines()[0],
            where=f"{scorer.title}, rows {number * job.part_rows + 1} to {number * job.part_rows + len(x)}",
            do="look at the values of these rows; no score was handed over",
        ) from error
    scores = pa.table(
        {
            "entity_key": keys,
            "prediction": np.asarray(prediction),
            "probability": answer if scorer.task == "classification" else pa.nulls(len(x), pa.float64()),
            "model_version": np.full(len(x), scorer.version),
            "scored_at": pa.repeat(pa.scalar(datetime.now(UTC)), len(x)),
        }
    ).cast(output_schema(scorer))
    scratch = job.output(number).with_suffix(".new")
    pq.write_table(scores, scratch)
    scratch.replace(job.output(number))
    return len(x)


@lru_cache(maxsize=1)
def _load(directory: Path, digest: str, where: str) -> Any:
    return model_store.load(directory, digest, where)


def _regrouped(batches: Iterable[pa.RecordBatch], part_rows: int) -> Iterator[pa.Table]:
    """The rows of `batches` in tables of `part_rows`, the last one with what is left."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while count + batch.num_rows - start >= part_rows:
            yield pa.Table.from_batches([*held, batch.slice(start, part_rows - count)])
            start, held, count = start + part_rows - count, [], 0
        held.append(batch.slice(start))
        count += batch.num_rows - start
    if count:
        yield pa.Table.from_batches(held)


def _check_missing(part: pa.Table, scorer: Scorer, first: int, where: str) -> None:
    """Refuse rows without an entity key, or without a value that no row lacked at training: the model server would
    refuse them too."""
    for name in (scorer.entity_key, *scorer.required):
        empty = pc.is_null(part.column(name), nan_is_null=True)
        count = pc.sum(empty).as_py() or 0
        if count:
            row = first + pc.index(empty, True).as_py() + 1
            raise StepError(
                f"the column {name} is empty in row {row} and {count - 1} of the rows after it, but {scorer.title} "
                "needs it",
                where=where,
                do="fill it, leave these rows out, or train with rows that lack it",
            )
