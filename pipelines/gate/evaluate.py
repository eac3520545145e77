"""Step `evaluate`: judge a candidate by the declared rules, and against the champion on the same test window."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model

from contract import DIGEST_TAG, ENTITY_KEY_TAG, GATE_TAG, SIGNATURE_CHANGE_TAG, SNAPSHOT_TAG
from pipelines import tracking
from pipelines.data.dataset import Window, load_snapshot, split_by_time
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.gate import checks, schema, verdicts
from pipelines.gate.figures import Evidence, Measured, measure, slices
from pipelines.gate.judgement import Verdict, judge
from pipelines.gate.runs import step_run
from pipelines.gate.schema import Changes, Schema
from pipelines.models import model_store
from pipelines.models.scoring import predict
from pipelines.progress import say, stage
from pipelines.project import Project
from pipelines.training.metrics import Array

REPORT = "evaluation.json"
ALLOWED = "allowed"


@dataclass(frozen=True)
class Judged:
    """A model that was downloaded, verified and loaded: what is judged is what would be served."""

    model: Any
    schema: Schema
    where: str


def run(env: Environment, project: Project, run_id: str | None = None) -> dict[str, Any]:
    """Judge the training run `run_id` (default: the newest); the verdict becomes tags and ``evaluation.json`` of that
    run, and a row of ``gates.verdicts``.

    Returns `run_id`, `passed`, `gate` (the verdict in words), `reasons`, `notes` (what is no reason but should be
    known), `candidate` and `champion` (metrics; None without a champion, or with one that cannot answer for these
    rows), `champion_version`, and of the declared metric `interval` and `loss_interval` (low, value, high).
    """
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        training = tracking.training_run(client, project.name, run_id)
        with step_run(client, env, project, "evaluate", training) as own:
            with stage("read the snapshot"):
                snapshot = load_snapshot(env, project, training.data.tags[SNAPSHOT_TAG])
                _, test = split_by_time(snapshot, project)
            champion = tracking.champion(client, project.name)
            evidence = _evidence(project, training, champion, test)
            verdict = judge(project.evaluation, evidence)
            result = _result(project, training, evidence, verdict, champion)
            _log(client, own, evidence)
            _write(client, env, project, result, evidence)
    for note in result["notes"]:
        say(f"  note: {note}")
    say(f"  {verdict}")
    return result


def _evidence(project: Project, training: Run, champion: ModelVersion | None, test: Window) -> Evidence:
    """Ask both models about the test window and measure what the verdict needs."""
    features = project.data.features
    candidate = _load_candidate(training)
    unfit = schema.against_declaration(candidate.schema, features)
    if unfit:
        raise StepError(
            f"the candidate does not take what is declared: {'; '.join(unfit)}",
            where=candidate.where,
            do="the declaration changed after its training: train again",
        )
    rival = _load_champion(champion) if champion else None
    with stage(f"score {len(test.y)} rows"):
        answer = predict(candidate.model, test.x, candidate.where)
        rivals, incomparable = ask_champion(project, rival, test) if rival else (None, [])
    with stage(f"metrics with bounds ({project.evaluation.bootstrap} resamples)"):
        metrics = measure(project, test, answer, rivals)
        parts = slices(project, test, answer, rivals)
    with stage("latency and missing values"):
        latency = checks.latency_ms(candidate.model, test.x, candidate.where)
        value = metrics[project.evaluation.metric].candidate.value
        gaps = checks.gaps(project, candidate.model, test, value, candidate.where)
    changes = _changes(project, training, candidate, rival, champion)
    return Evidence(
        rows=len(test.y),
        metrics=metrics,
        slices=parts,
        latency_ms=latency,
        gaps=gaps,
        schema=changes.problems,
        declared=changes.declared,
        incomparable=incomparable,
    )


def ask_champion(project: Project, rival: Judged, test: Window) -> tuple[Array | None, list[str]]:
    """The champion's answers for the test window, or why there are none: that must not keep it champion for ever."""
    reasons = schema.incomparable(rival.schema, project.task, project.data.features)
    if reasons:
        return None, reasons
    try:
        return predict(rival.model, test.x, rival.where), []
    except StepError as error:
        return None, [error.what]
    except Exception as error:  # the model's own code: it may raise anything
        return None, [f"it fails on these rows: {type(error).__name__}: {error}".splitlines()[0]]


def _changes(
    project: Project, training: Run, candidate: Judged, rival: Judged | None, champion: ModelVersion | None
) -> Changes:
    """What callers of the champion will notice; what the model server would refuse is a problem, unless allowed."""
    if rival is None or champion is None:
        return Changes()
    found = schema.against_champion(candidate.schema, rival.schema, project.data.features)
    key = champion.tags.get(ENTITY_KEY_TAG, project.data.entity_key)
    if key != project.data.entity_key:
        found.declared.append(f"the entity key was {key} and is {project.data.entity_key}")
    if training.data.tags.get(SIGNATURE_CHANGE_TAG) == ALLOWED:
        return Changes([], found.declared + found.problems)
    hint = f"if callers are ready for it, set the tag {SIGNATURE_CHANGE_TAG} of the training run to {ALLOWED}"
    return Changes([f"schema: {item}; {hint}" for item in found.problems], found.declared)


def _load_candidate(training: Run) -> Judged:
    tags = training.data.tags
    uri = f"models:/{tags.get(tracking.MODEL_TAG)}"
    return _load(uri, tags.get(DIGEST_TAG, ""), f"run {training.info.run_id}")


def _load_champion(champion: ModelVersion) -> Judged:
    uri = f"models:/{champion.name}/{champion.version}"
    return _load(uri, champion.tags.get(DIGEST_TAG, ""), f"{champion.name} version {champion.version}")


def _load(uri: str, digest: str, where: str) -> Judged:
    """The model at `uri`, which must have `digest`."""
    with stage(f"load {where}"), tempfile.TemporaryDirectory() as scratch:
        directory = model_store.download(uri, Path(scratch))
        model = model_store.load(directory, digest, where)
        return Judged(model, Schema.of(Model.load(str(directory)).signature), where)


def _result(
    project: Project, training: Run, evidence: Evidence, verdict: Verdict, champion: ModelVersion | None
) -> dict[str, Any]:
    figures = evidence.as_json()["metrics"]
    declared = figures[project.evaluation.metric]
    compared = declared["champion"] is not None
    return {
        "run_id": training.info.run_id,
        "passed": verdict.passed,
        "gate": str(verdict),
        "reasons": list(verdict.reasons),
        "notes": _notes(evidence, champion),
        "candidate": {metric: item["candidate"]["value"] for metric, item in figures.items()},
        "champion": {metric: item["champion"]["value"] for metric, item in figures.items()} if compared else None,
        "champion_version": int(champion.version) if champion else None,
        "interval": list(declared["candidate"].values()),
        "loss_interval": list(declared["loss"].values()) if compared else None,
    }


def _notes(evidence: Evidence, champion: ModelVersion | None) -> list[str]:
    """What does not speak against the candidate but should be known."""
    if champion is None:
        return []
    name = f"version {champion.version}, the champion"
    notes = [f"not compared with {name}: {'; '.join(evidence.incomparable)}"] if evidence.incomparable else []
    return notes + [f"callers of {name}, will notice: {change}" for change in evidence.declared]


def _log(client: MlflowClient, own: str, evidence: Evidence) -> None:
    """Put the figures on the run of this step."""
    figures = {"latency_ms": evidence.latency_ms}
    for metric, found in evidence.metrics.items():
        figures |= _named(metric, found)
    now = client.get_run(own).info.start_time
    client.log_batch(own, metrics=[Metric(key, value, now, 0) for key, value in figures.items()])


def _named(metric: str, found: Measured) -> dict[str, float]:
    parts = {"candidate": found.candidate, "champion": found.champion, "loss": found.loss}
    return {
        f"{who}_{metric}{bound}": number
        for who, item in parts.items()
        if item is not None
        for bound, number in (("_low", item.low), ("", item.value), ("_high", item.high))
    }


def _write(
    client: MlflowClient, env: Environment, project: Project, result: dict[str, Any], evidence: Evidence
) -> None:
    """Put the verdict on the training run and into the warehouse; the tags last, since `register` acts on them."""
    run_id, figures = result["run_id"], evidence.as_json()
    client.log_dict(run_id, result | {"evidence": figures}, REPORT)
    verdicts.write(env, project.name, result, figures)
    tags = {GATE_TAG: result["gate"][:500], tracking.RIVAL_TAG: str(result["champion_version"] or "none")}
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
