"""Step `score`: answer for every row of a table or a file, with the champion or another version of the model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import tracking
from pipelines.batch import parts, sources, spark, targets
from pipelines.batch.bar import progress_bar
from pipelines.batch.ledger import Entry
from pipelines.batch.model import Scorer, fetch, find
from pipelines.batch.parts import Job
from pipelines.batch.places import Place, place
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.progress import say, stage
from pipelines.project import Project
from pipelines.warehouse import step_lock

_INCOMING = "incoming"


def run(
    env: Environment,
    project: Project,
    source: str,
    target: str,
    *,
    version: int | None = None,
    alias: str | None = None,
    engine: str | None = None,
) -> dict[str, Any]:
    """Score the rows of `source` into `target` with a version (champion without `version` and `alias`).

    The same rows, version and target are scored once: a call after a crash goes on where it stopped, a call after that
    finds everything done. The scores appear in the target all at once. `engine` is as declared (`batch.engine`) without
    one.

    Returns `model`, `version`, `source`, `target`, `engine`, `job` (its id), `rows` in the target, and how many of them
    this call computed (`scored`) or found computed (`kept`).
    """
    from_place, to_place = place(source, "--from"), place(target, "--to")
    if from_place == to_place:
        raise StepError("the scores cannot replace what is scored", where="--to", do="choose another --to")
    chosen = engine or project.batch.engine
    if chosen == "spark":
        spark.check(env)
    with step_lock(env, "score", to_place.name), _work_directory(env, to_place) as work:
        targets.check(env, to_place, project.name)
        began = datetime.now(UTC)
        scorer = _fetch(env, project, version, alias, work / _INCOMING)
        with stage(f"read {from_place.name}"):
            rows = sources.fetch(env, from_place, scorer, work / _INCOMING)
        job_id = _identity(scorer, rows.digest, to_place)
        found = targets.delivered(env, to_place, job_id)
        if found is None:
            job = _job(work, job_id, scorer, rows, project.batch.part_rows)
            scored = _compute(env, job, chosen)
            entry = Entry(
                id=job_id,
                project=project.name,
                version=scorer.version,
                source=from_place.name,
                target=to_place.name,
                engine=chosen,
                rows=job.rows,
                actor=env.actor,
                started_at=began,
            )
            with stage(f"write {to_place.name}"):
                targets.deliver(env, to_place, job, entry)
            found = job.rows
            say(f"  {to_place.name} holds the scores of {found} rows by {scorer.title}")
        else:
            scored = 0
            say(f"  nothing to do: {to_place.name} holds the scores of these rows by {scorer.title}")
        shutil.rmtree(work)
    return {
        "model": scorer.name,
        "version": scorer.version,
        "source": from_place.name,
        "target": to_place.name,
        "engine": chosen,
        "job": job_id,
        "rows": found,
        "scored": scored,
        "kept": found - scored,
    }


@contextmanager
def _work_directory(env: Environment, target: Place) -> Iterator[Path]:
    """The directory of what is done for this target, with an empty place for what comes in. Only a job that was begun
    is left behind."""
    work = env.state_dir / "batch" / hashlib.sha256(target.name.encode()).hexdigest()[:16]
    shutil.rmtree(work / _INCOMING, ignore_errors=True)
    (work / _INCOMING).mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work / _INCOMING, ignore_errors=True)
        with suppress(OSError):
            work.rmdir()


def _fetch(env: Environment, project: Project, version: int | None, alias: str | None, scratch: Path) -> Scorer:
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        return fetch(find(client, project, version, alias), project, scratch)


def _identity(scorer: Scorer, digest: str, target: Place) -> str:
    """What makes two calls the same job: version, artifact, columns, rows and target."""
    text = json.dumps([scorer.to_dict(), digest, target.name], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _job(work: Path, job_id: str, scorer: Scorer, rows: sources.Input, part_rows: int) -> Job:
    """The job as an interrupted call left it, or a new one. What others left for this target is of no use any more."""
    directory, incoming = work / job_id, work / _INCOMING
    for other in work.iterdir():
        if other.name not in (job_id, _INCOMING):
            shutil.rmtree(other)
    known = parts.open_job(directory)
    if known is not None:
        say(f"  going on: {len(known.parts) - len(known.undone)} of {len(known.parts)} parts are done")
        return known
    with stage("prepare the parts"):
        parts.make_job(incoming, scorer, sources.batches(rows, scorer), part_rows, rows.name)
    if rows.file.parent == incoming:
        rows.file.unlink()
    incoming.rename(directory)
    made = parts.open_job(directory)
    if made is None:
        raise StepError("the job vanished while it was made", where=str(directory), do="start it again")
    return made


def _compute(env: Environment, job: Job, engine: str) -> int:
    """Score the undone parts; how many rows that were."""
    undone = job.undone
    rows = sum(map(job.rows_of, undone))
    with progress_bar("score", job.rows, job.rows - rows) as advance:
        if engine == "spark":
            spark.score(env, job, advance)
        else:
            _compute_here(job, undone, advance)
    return rows


def _compute_here(job: Job, undone: list[int], advance: Callable[[int], None]) -> None:
    for number in undone:
        advance(parts.score_part(job, number))
