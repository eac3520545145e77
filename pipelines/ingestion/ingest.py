"""Step ``ingest``: ``inspect``, then ``sync``."""

from __future__ import annotations

from typing import Any

from pipelines.environment import Environment
from pipelines.ingestion import inspection, sync
from pipelines.project import Project


def run(env: Environment, project: Project) -> dict[str, Any]:
    """Check the new files, then load them; the results of both steps."""
    checked = inspection.run(env, project)
    return {**checked, **sync.run(env, project)}
