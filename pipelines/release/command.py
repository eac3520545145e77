"""``python -m pipelines models``: what is registered and what serves, for people or as JSON, and who moves it."""

from __future__ import annotations

import json

import click

from pipelines.console import messages, show
from pipelines.environment import Environment
from pipelines.project import load_project

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_reason = click.option("--reason", required=True, help="Why; it is kept with who did it and when.")


@click.group()
def models() -> None:
    """List, show, compare, promote and roll back versions of models."""


@models.command("list")
@click.argument("project", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Versions of each model.")
@_as_json
def list_versions(project: str | None, limit: int, as_json: bool) -> None:
    """List the newest versions, of one project's model or of all."""
    from pipelines.release import models as facts  # noqa: PLC0415 (MLflow takes a second to import)
    from pipelines.release import show as tables  # noqa: PLC0415

    with messages():
        found = facts.listed(Environment.from_env(), project, limit)
        show(found if as_json else tables.version_list(found))


@models.command("show")
@click.argument("project")
@click.argument("version", type=click.IntRange(min=1), required=False)
@_as_json
def show_version(project: str, version: int | None, as_json: bool) -> None:
    """Show a version, the champion if none is named: metrics, data, releases, reports of the monitor."""
    from pipelines.release import models as facts  # noqa: PLC0415
    from pipelines.release import show as tables  # noqa: PLC0415

    with messages():
        found = facts.shown(Environment.from_env(), project, version)
        show(found if as_json else tables.version_description(found))


@models.command("compare")
@click.argument("project")
@click.argument("first", type=click.IntRange(min=1))
@click.argument("second", type=click.IntRange(min=1))
@_as_json
def compare_versions(project: str, first: int, second: int, as_json: bool) -> None:
    """Show what differs between two versions: metrics, parameters, data, features, code."""
    from pipelines.release import models as facts  # noqa: PLC0415
    from pipelines.release import show as tables  # noqa: PLC0415

    with messages():
        found = facts.compared(Environment.from_env(), project, first, second)
        show(found if as_json else tables.version_comparison(found))


@models.command("promote")
@click.argument("project")
@click.argument("version", type=click.IntRange(min=1))
@_reason
@click.option("--force", is_flag=True, help="Also a version that the gate has refused.")
@_as_json
def promote(project: str, version: int, reason: str, force: bool, as_json: bool) -> None:
    """Make a version champion now; a running release ends."""
    from pipelines.release import person  # noqa: PLC0415
    from pipelines.release import show as tables  # noqa: PLC0415

    with messages():
        env = Environment.from_env()
        done = person.promote(env, load_project(env.repo, project), version, reason, force=force)
        show(done if as_json else tables.moved(done))


@models.command("rollback")
@click.argument("project")
@_reason
@_as_json
def rollback(project: str, reason: str, as_json: bool) -> None:
    """End a running release; without one, make the champion before champion again."""
    from pipelines.release import person  # noqa: PLC0415
    from pipelines.release import show as tables  # noqa: PLC0415

    with messages():
        env = Environment.from_env()
        done = person.rollback(env, load_project(env.repo, project), reason)
        show(done if as_json else tables.moved(done))


@click.command(hidden=True)
@click.argument("action")
@click.argument("details")
def audit(action: str, details: str) -> None:
    """Write down what was done to no project in particular, such as to somebody's access; DETAILS is a JSON object."""
    from pipelines.release.audit import record  # noqa: PLC0415

    with messages():
        record(Environment.from_env(), action, "", None, **json.loads(details))
