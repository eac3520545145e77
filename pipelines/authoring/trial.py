"""`platform test`: the whole loop of a project on a sample, in a scratch that is removed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from psycopg import sql
from rich.console import Console
from rich.markup import escape

from pipelines.authoring import check, notebooks
from pipelines.authoring.declaration import write_checkout
from pipelines.authoring.process import run_whole
from pipelines.authoring.sample import sample_sources, sample_table, sources_of
from pipelines.authoring.scratch import Scratch, open_scratch
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.connections import project_connections
from pipelines.ingestion.inspection import check_landed
from pipelines.ingestion.ledger import landing_files
from pipelines.objects import client
from pipelines.project import Project, load_project

STEP_SECONDS = 1800


def run(env: Environment, name: str, share: float) -> dict[str, Any]:
    """Take the project `name` once through the loop on `share` of its rows; StepError at the first thing that fails.

    Each part is a command as Airflow starts it, in the environment of a scratch. Returns `project`, `passed` and
    `parts` (each with `part`, `seconds`, `said`).
    """
    project = load_project(env.repo, name)
    began = time.perf_counter()
    with open_scratch(env) as scratch:
        trial = _Trial(env, project, share, scratch)
        trial.part("check", trial.check)
        trial.part("files", trial.inspect)
        trial.part("sample", trial.sample)
        if project.data.dbt_select:
            trial.part("transform", trial.transform)
        for part in (trial.snapshot, trial.train, trial.evaluate, trial.register, trial.score, trial.monitor):
            trial.part(part.__name__, part)
        if notebooks.of(project):
            trial.part("notebooks", trial.run_notebooks)
    trial.say(f"[bold green]passed[/]: nothing was registered, nothing is left ({time.perf_counter() - began:.0f} s)")
    return {"project": name, "passed": True, "parts": trial.parts}


class _Trial:
    """The parts of one trial, in their order; each returns what it says to a person."""

    def __init__(self, env: Environment, project: Project, share: float, scratch: Scratch) -> None:
        self.env = env
        self.project = project
        self.share = share
        self.scratch = scratch
        self.variables = os.environ | scratch.variables(env)
        self.mart = (scratch.name, project.data.table.partition(".")[2])
        self.parts: list[dict[str, Any]] = []
        self.console = Console(stderr=True, soft_wrap=True, highlight=False)
        write_checkout(env.repo, project, scratch.name, scratch.repo)

    def say(self, text: str) -> None:
        """Print one line of progress."""
        self.console.print(text)

    def part(self, name: str, work: Callable[[], str]) -> None:
        """Do one part, and say how it ended."""
        began = time.perf_counter()
        try:
            said = work()
        except StepError as error:
            self.say(f"  [red]✗[/] {name}")
            raise self._own_words(name, error) from None
        seconds = time.perf_counter() - began
        self.say(f"  [green]✓[/] {name:<10} {escape(said)} [dim]({seconds:.1f} s)[/]")
        self.parts.append({"part": name, "seconds": round(seconds, 1), "said": said})

    def _own_words(self, name: str, error: StepError) -> StepError:
        """`error` with the project's name in place of the scratch's."""
        what, where, do = (
            text.replace(self.scratch.name, self.project.name) for text in (error.what, error.where, error.do)
        )
        return StepError(f"{name}: {what}", where=where or f"projects/{self.project.name}", do=do)

    def check(self) -> str:
        """What `platform check` does."""
        (findings,) = check.check_in(self.scratch.directory, self.env.repo, self.env.envs_dir, self.project.name)
        problems = [text for part in findings.parts.values() for text in part]
        if problems:
            raise StepError("\n".join(problems), do=f"correct that; `platform check {self.project.name}` shows it too")
        return ", ".join(findings.parts)

    def inspect(self) -> str:
        """Hold the newest landed file of each stream to its declaration; nothing is recorded."""
        if not self.project.data.connections:
            return "no connection is declared"
        s3 = client(self.env)
        checked = []
        for connection in project_connections(self.env, self.project):
            newest = {
                file.stream: file for file in sorted(landing_files(s3, connection), key=lambda file: file.modified)
            }
            for file in newest.values():
                found = check_landed(s3, connection, file)
                if found.problems:
                    raise StepError(str(found.problems[0]), where=file.key, do="correct the file or the connection")
                checked.append(file.key)
        return f"{len(checked)} landed files are as declared" if checked else "nothing has landed"

    def sample(self) -> str:
        """Put the rows to work on into the scratch schema."""
        schema, connection = self.scratch.name, self.scratch.connection
        if not self.project.data.dbt_select:
            table = self.project.data.table
            return sample_table(connection, schema, (table.split(".")[0], table.split(".")[1]), self.share)
        manifest = json.loads((self.scratch.directory / check.MANIFEST).read_text(encoding="utf-8"))
        sources = sources_of(manifest, self.project.data.table)
        if not sources:
            return "the models read no source"
        return sample_sources(connection, schema, sources, self.share)

    def transform(self) -> str:
        """Build and test the dbt models in the scratch schema."""
        result = self._step("transform")
        return f"{result['models']} models, {result['tests']} tests"

    def snapshot(self) -> str:
        """Freeze the mart's rows."""
        result = self._step("snapshot")
        self.uri = result["uri"]
        return f"{result['rows']:,} rows, {result['from'][:10]} to {result['to'][:10]}"

    def train(self) -> str:
        """Train with one iteration."""
        result = self._step("train", "--snapshot", self.uri)
        self.run_id = result["run_id"]
        name = f"test_{self.project.evaluation.metric}"
        return f"one iteration, {name} {result['metrics'][name]:.4f} (means nothing)"

    def evaluate(self) -> str:
        """Let the gate measure all that is declared; its bounds are open."""
        result = self._step("evaluate", "--run-id", self.run_id)
        if not result["passed"]:
            raise StepError("; ".join(result["reasons"]), do="correct what the gate names")
        return "the gate measures what is declared (its bounds are open here)"

    def register(self) -> str:
        """Register in a directory that is removed."""
        result = self._step("register", "--run-id", self.run_id)
        return f"version {result['version']} of a registry that is removed"

    def score(self) -> str:
        """Answer for every row of the sample in batch."""
        result = self._step("score", "--from", ".".join(self.mart), "--to", f"{self.scratch.name}.scores")
        return f"{result['rows']:,} rows"

    def monitor(self) -> str:
        """Look at the scores as if they had been predictions."""
        schema = sql.Identifier(self.scratch.name)
        key = sql.Identifier(self.project.data.entity_key)
        self.scratch.connection.execute(
            sql.SQL(PREDICTIONS).format(
                schema=schema, mart=sql.Identifier(*self.mart), key=key, model=sql.Literal(self.scratch.name)
            )
        )
        joined = "&" if "?" in self.env.warehouse_url else "?"
        self.variables["PREDICTIONS_URL"] = (
            f"{self.env.warehouse_url}{joined}options=-csearch_path%3D{self.scratch.name}"
        )
        result = self._step("monitor")
        return f"{result['predictions']:,} predictions looked at"

    def run_notebooks(self) -> str:
        """Run the notebooks that the project ships."""
        return notebooks.run(self.env, self.project, self.scratch, self.variables)

    def _step(self, step: str, *options: str) -> dict[str, Any]:
        """The result of the step, as its command prints it."""
        command = [sys.executable, "-m", "pipelines", step, self.scratch.name, *options]
        code, output, errors = run_whole(command, self.variables, str(self.env.repo), STEP_SECONDS)
        if code:
            raise _failure(errors)
        return dict(json.loads(output.splitlines()[-1]))


PREDICTIONS = """
CREATE TABLE {schema}.predictions AS
SELECT gen_random_uuid() AS prediction_id, now() AS created_at, {model}::text AS model, s.model_version AS version,
    'champion'::text AS role, s.entity_key, to_jsonb(m) AS features, to_jsonb(s.prediction) AS prediction,
    s.probability, 1.0::double precision AS latency_ms
FROM {schema}.scores s JOIN {mart} m ON m.{key}::text = s.entity_key
"""
"""What the model server would have written, had it been asked for the rows of the sample."""


def _failure(output: str) -> StepError:
    """The error that a step printed at its end, in its parts."""
    _, found, message = output.rpartition("Error: ")
    what, _, do = (message if found else output[-2000:]).strip().partition("\n  → ")
    return StepError(what or "it said nothing", do=do)
