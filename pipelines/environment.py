"""What a step knows of the machine it runs on: addresses, credentials, directories. Read once, from variables."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from contract import sources_digest
from pipelines.errors import StepError

# The variable of a field is its name in capitals, but for these.
VARIABLES = {
    "repo": "PLATFORM_REPO",
    "state_dir": "STEP_STATE_DIR",
    "mlflow_uri": "MLFLOW_TRACKING_URI",
    "mlflow_username": "MLFLOW_TRACKING_USERNAME",
    "mlflow_password": "MLFLOW_TRACKING_PASSWORD",
    "aws_region": "AWS_DEFAULT_REGION",
    "declared_commit": "PLATFORM_COMMIT",
    "checkout_state": "CHECKOUT_STATE",
    "declared_actor": "PLATFORM_ACTOR",
    "declared_pipeline_run": "PLATFORM_PIPELINE_RUN",
}
AIRFLOW_ACTOR = "airflow:"
_MARKS: dict[int, str] = {}
"""What tells a process from all others, by its number: a fork has one of its own."""


@dataclass(frozen=True)
class Environment:
    """The variables of ``compose/pipelines/step.env``, typed. Secrets never show in ``repr``."""

    repo: Path
    envs_dir: Path
    state_dir: Path
    warehouse_url: str = field(repr=False)
    predictions_url: str = field(repr=False)
    mlflow_uri: str
    s3_endpoint_url: str
    aws_access_key_id: str = field(repr=False)
    aws_secret_access_key: str = field(repr=False)
    landing_bucket: str
    snapshots_bucket: str
    serving_url: str
    serving_api_key: str = field(repr=False)
    aws_region: str = "us-east-1"
    mlflow_username: str = ""
    mlflow_password: str = field(default="", repr=False)
    pushgateway_url: str = ""
    pushgateway_username: str = ""
    pushgateway_password: str = field(default="", repr=False)
    mlflow_page: str = ""
    spark_master: str = "local[*]"
    declared_commit: str = ""
    checkout_state: str = ""
    declared_actor: str = ""
    declared_pipeline_run: str = ""
    openlineage_to: str = "file"

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None) -> Environment:
        """Read the variables (``os.environ`` unless given); every missing one is named in one error."""
        variables = os.environ if variables is None else variables
        values: dict[str, Any] = {}
        missing: list[str] = []
        for item in fields(cls):
            name = VARIABLES.get(item.name, item.name.upper())
            text = variables.get(name, "")
            if text:
                values[item.name] = Path(text) if item.type == "Path" else text
            elif item.default is MISSING:
                missing.append(name)
        if missing:
            raise StepError(
                f"not set: {', '.join(missing)}",
                where="environment",
                do="start the step with `platform run PROJECT STEP`, or set what compose/pipelines/step.env lists",
            )
        return cls(**values)

    @property
    def mlflow_pages(self) -> str:
        """What the address of a page of MLflow begins with, as people open it."""
        return f"{self.mlflow_page or self.mlflow_uri}/#"

    @cached_property
    def commit(self) -> str:
        """The git commit of the checkout, ``-dirty`` after it if files differ; ``unknown`` outside git. A container has
        no git: there it is what the owner's machine said of the checkout last, ``-dirty`` if files differ from then."""
        if self.declared_commit:
            return self.declared_commit
        if self.checkout_state:
            return self._commit_of_state()
        head = self._git("rev-parse", "HEAD")
        if not head:
            return "unknown"
        return f"{head}-dirty" if self._git("status", "--porcelain", "--untracked-files=no") else head

    def commit_subject(self, commit: str) -> str:
        """The first line of the message of a commit, and nothing where the checkout does not know it."""
        return self._git("show", "--no-patch", "--format=%s", commit, "--")

    @property
    def actor(self) -> str:
        """Who or what started this step: ``airflow:<dag_id>/<run_id>`` or ``<user>@shell``."""
        return self.declared_actor or f"{getpass.getuser()}@shell"

    @property
    def pipeline_run(self) -> str:
        """The pipeline run that this step is a part of: ``airflow:<dag_id>/<run_id>``, what the caller declared, or one
        of this process alone, ``<actor>/<random>``."""
        if self.declared_pipeline_run:
            return self.declared_pipeline_run
        if self.actor.startswith(AIRFLOW_ACTOR):
            return self.actor
        return f"{self.actor}/{_MARKS.setdefault(os.getpid(), uuid4().hex[:12])}"

    @property
    def trigger(self) -> str:
        """What started the pipeline run: ``airflow``, or ``shell`` for a person or a program outside of it."""
        return "airflow" if self.pipeline_run.startswith(AIRFLOW_ACTOR) else "shell"

    def _commit_of_state(self) -> str:
        try:
            commit, digest = Path(self.checkout_state).read_text().split("\n")[0].split()
        except (OSError, ValueError):
            return "unknown"
        changed = digest != sources_digest(self.repo) and commit != "unknown"
        return f"{commit}-dirty" if changed and not commit.endswith("-dirty") else commit

    def _git(self, *arguments: str) -> str:
        # The checkout may belong to another user than the one a service runs as; git refuses that by default.
        command = ["git", "-c", f"safe.directory={self.repo}", "-C", str(self.repo), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""
