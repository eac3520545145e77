"""The table ``gates.verdicts``: what the gate said of each candidate, and by which figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.environment import Environment
from pipelines.warehouse import connect

TABLES = """
SELECT pg_advisory_xact_lock(hashtext('gates'));
CREATE SCHEMA IF NOT EXISTS gates;
CREATE TABLE IF NOT EXISTS gates.verdicts (
    run_id text PRIMARY KEY,
    project text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    passed boolean NOT NULL,
    reasons jsonb NOT NULL,
    figures jsonb NOT NULL,
    champion integer,
    actor text NOT NULL
);
"""


def write(env: Environment, project: str, result: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Keep the `result` of the step `evaluate` with the `figures` behind it (`Evidence.as_json`).

    A later one on the same training run replaces it.
    """
    with connect(env) as connection:
        connection.execute(TABLES)
        connection.execute(
            """
            INSERT INTO gates.verdicts (run_id, project, passed, reasons, figures, champion, actor)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (run_id) DO UPDATE SET at = now(), passed = excluded.passed, reasons = excluded.reasons,
                figures = excluded.figures, champion = excluded.champion, actor = excluded.actor
            """,
            (
                result["run_id"],
                project,
                result["passed"],
                json.dumps(result["reasons"]),
                json.dumps(figures, allow_nan=False),
                result["champion_version"],
                env.actor,
            ),
        )
