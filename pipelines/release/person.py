"""What a person does to a model: makes a version champion, or goes back to the one before. Each call is audited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from contract import ALIAS_CHAMPION, GATE_TAG
from pipelines import tracking
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project
from pipelines.release import actions, audit
from pipelines.release.begin import make_rollout
from pipelines.release.rollout import Rollout
from pipelines.release.store import Kind, Row, Store, opened

PASSED = "passed"


def promote(env: Environment, project: Project, version: int, reason: str, *, force: bool = False) -> dict[str, Any]:
    """Make `version` champion now. A running release ends with it: as promoted if it is of this version.

    With `force` also a version that the gate has refused. Called again after a failure, it goes on.

    Returns `model`, `version`, `previous` (champion before), `cancelled` (version whose release was ended), `actor`.

    Raises:
        StepError: the account may not, there is no such version, it is champion already, or the gate has refused it.
    """
    with _call(env, project, "promote", version, reason) as call:
        resumed, champion = call.resume()
        if resumed is not None and resumed.state == "promoted" and resumed.version == version:
            return call.done(version, resumed.champion)
        if champion == version:
            raise StepError(f"version {version} is champion already", where=project.name, do="nothing is to be done")
        call.check(version, force=force)
        if resumed is not None and resumed.state == "running":
            if resumed.version == version:
                call.rollout.finish(resumed, "promoted", reason)
                return call.done(version, champion)
            call.rollout.finish(resumed, "cancelled", f"version {version} was made champion: {reason}")
            call.move(version, champion, "promote")
            return call.done(version, champion, cancelled=resumed.version)
        call.move(version, champion, "promote")
        return call.done(version, champion)


def rollback(env: Environment, project: Project, reason: str) -> dict[str, Any]:
    """Undo what was done last: end a running release, the champion staying; without one, make the version champion
    that was champion before. Called again after a failure, it goes on and undoes nothing more.

    Returns as `promote` does; `version` is the champion afterwards.

    Raises:
        StepError: the account may not, or there is nothing to go back to.
    """
    with _call(env, project, "rollback", None, reason) as call:
        resumed, champion = call.resume()
        if resumed is not None and resumed.state == "running":
            call.rollout.finish(resumed, "rolled_back", reason)
            return call.done(champion, champion, cancelled=resumed.version)
        if resumed is not None and resumed.strategy == "rollback":
            return call.done(champion, resumed.champion)
        if resumed is not None and resumed.state != "promoted":
            return call.done(champion, champion, cancelled=resumed.version)
        version = call.before(champion)
        call.check(version, force=True)
        call.move(version, champion, "rollback")
        return call.done(version, champion)


@dataclass(frozen=True)
class _Call:
    """One call of a person, who may do this, with the release of the project held."""

    env: Environment
    project: Project
    client: MlflowClient
    store: Store
    rollout: Rollout
    action: str
    reason: str

    def check(self, version: int, *, force: bool) -> None:
        """Refuse a version that is not there, or that the gate has not passed."""
        try:
            tags = self.client.get_model_version(self.project.name, str(version)).tags
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            do = f"see `platform models list {self.project.name}`"
            raise StepError(f"there is no version {version}", where=self.project.name, do=do) from error
        gate = tags.get(GATE_TAG, "not judged")
        if gate != PASSED and not force:
            raise StepError(
                f"the gate has not passed version {version}: {gate}",
                where=self.project.name,
                do="train a better one; or take the responsibility: --force",
            )

    def resume(self) -> tuple[Row | None, int | None]:
        """The release that was not over, what was begun of it finished, and then the champion."""
        row = self.store.running(self.project.name)
        row = self.rollout.resume(row) if row is not None else None
        return row, actions.aliases(self.client, self.project.name).get(ALIAS_CHAMPION)

    def before(self, champion: int | None) -> int:
        """The version to go back to."""
        found = self.client.get_model_version(self.project.name, str(champion)) if champion is not None else None
        previous = found.tags.get(actions.PREVIOUS_TAG) if found else None
        if previous is None:
            raise StepError(
                f"no champion before version {champion} is known" if champion else "there is no champion",
                where=self.project.name,
                do=f"name the version that is to answer: `platform models promote {self.project.name} VERSION`",
            )
        return int(previous)

    def move(self, version: int, champion: int | None, kind: Kind) -> None:
        """Move the alias champion as a release of its own, which ends at once."""
        who = audit.actor(self.env)
        row = self.store.begin(self.project.name, version, champion, kind, who, promote=self.reason)
        self.rollout.resume(row)

    def done(self, version: int | None, previous: int | None, cancelled: int | None = None) -> dict[str, Any]:
        """Audit the call; its result."""
        facts = {"previous": previous, "cancelled": cancelled}
        audit.record(self.env, self.action, self.project.name, version, reason=self.reason, **facts)
        return {"model": self.project.name, "version": version, **facts, "actor": audit.actor(self.env)}


@contextmanager
def _call(env: Environment, project: Project, action: str, version: int | None, reason: str) -> Iterator[_Call]:
    """A call of somebody who may change the model; what is refused is audited too."""
    client = tracking.connect(env)
    with tracking.mlflow_errors(env), opened(env, project.name) as store:
        if not client.search_registered_models(filter_string=f"name = '{project.name}'"):
            raise StepError(
                "no version is registered, or this account may not see it",
                where=f"MLflow, model {project.name}",
                do=f"train and register one: `platform run {project.name} loop`",
            )
        try:
            actions.permit(client, project.name, env.mlflow_username)
        except StepError as error:
            audit.record(env, action, project.name, version, reason=reason, refused=error.what)
            raise
        yield _Call(env, project, client, store, make_rollout(env, project, client, store), action, reason)
