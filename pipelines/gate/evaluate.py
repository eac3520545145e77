"""Step `evaluate`: judge a candidate by the declared minimum, and against the champion on the same test window."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.entities.model_registry import ModelVersion

from contract import DIGEST_TAG, GATE_TAG, SNAPSHOT_TAG
from pipelines import tracking
from pipelines.data.dataset import Window, load_snapshot, split_by_time
from pipelines.environment import Environment
from pipelines.gate.judgement import judge
from pipelines.models import model_store
from pipelines.models.scoring import predict
from pipelines.progress import say, stage
from pipelines.project import Project
from pipelines.training import metrics

REPORT = "evaluation.json"


def run(env: Environment, project: Project, run_id: str | None = None) -> dict[str, Any]:
    """Judge the training run `run_id` (default: the newest) and write the verdict to it as tags and artifact.

    Both models are scored as artifacts that were downloaded and verified: what is judged is what would be served.

    Returns `run_id`, `passed`, `reasons`, `candidate` and `champion` (metrics; None without a champion) and
    `champion_version`.
    """
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        training = tracking.training_run(client, project.name, run_id)
        with stage("read the snapshot"):
            snapshot = load_snapshot(env, project, training.data.tags[SNAPSHOT_TAG])
            _, test = split_by_time(snapshot, project)
        champion = tracking.champion(client, project.name)
        with stage("score the candidate"):
            candidate_figures = _score_candidate(training, test)
        champion_figures = None
        if champion is not None:
            with stage(f"score the champion (version {champion.version})"):
                champion_figures = _score_champion(champion, test)
        verdict = judge(project.evaluation, candidate_figures, champion_figures)
        result = {
            "run_id": training.info.run_id,
            "passed": verdict.passed,
            "reasons": list(verdict.reasons),
            "candidate": candidate_figures,
            "champion": champion_figures,
            "champion_version": int(champion.version) if champion else None,
        }
        _write(client, training.info.run_id, result, str(verdict))
    say(f"  {verdict}")
    return result


def _score_candidate(training: Run, test: Window) -> dict[str, float]:
    tags = training.data.tags
    uri = f"models:/{tags.get(tracking.MODEL_TAG)}"
    return _score(uri, tags.get(DIGEST_TAG, ""), f"run {training.info.run_id}", test)


def _score_champion(champion: ModelVersion, test: Window) -> dict[str, float]:
    name = f"{champion.name} version {champion.version}"
    return _score(f"models:/{champion.name}/{champion.version}", champion.tags.get(DIGEST_TAG, ""), name, test)


def _score(uri: str, digest: str, where: str, test: Window) -> dict[str, float]:
    """The metrics on the test window of the model at `uri`, which must have `digest`."""
    with tempfile.TemporaryDirectory() as scratch:
        model = model_store.load(model_store.download(uri, Path(scratch)), digest, where)
    return metrics.figures(test.y, predict(model, test.x, where))


def _write(client: MlflowClient, run_id: str, result: dict[str, Any], verdict: str) -> None:
    """Put the verdict on the run; the tags last, since `register` acts on them."""
    client.log_dict(run_id, result, REPORT)
    tags = {GATE_TAG: verdict[:500], tracking.RIVAL_TAG: str(result["champion_version"] or "none")}
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
