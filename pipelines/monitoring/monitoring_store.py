"""Where the figures of monitoring go: tables of the warehouse, and the Pushgateway for Prometheus."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from pipelines.environment import Environment
from pipelines.warehouse import connect

PUSH_SECONDS = 10
METRIC_PREFIX = "platform_monitoring"

TABLES = """
CREATE SCHEMA IF NOT EXISTS monitoring;
CREATE TABLE IF NOT EXISTS monitoring.runs (
    run_id text PRIMARY KEY,
    monitored_at timestamptz NOT NULL DEFAULT now(),
    project text NOT NULL,
    version integer NOT NULL,
    window_from timestamptz NOT NULL,
    window_to timestamptz NOT NULL,
    predictions integer NOT NULL,
    labelled integer NOT NULL,
    drift boolean NOT NULL,
    drift_share double precision NOT NULL,
    drifted jsonb NOT NULL,
    performance jsonb,
    report_url text NOT NULL,
    actor text NOT NULL
);
CREATE TABLE IF NOT EXISTS monitoring.figures (
    run_id text NOT NULL REFERENCES monitoring.runs ON DELETE CASCADE,
    figure text NOT NULL,
    name text NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (run_id, figure, name)
);
ALTER TABLE monitoring.runs
    ADD COLUMN IF NOT EXISTS performance_interval jsonb,
    ADD COLUMN IF NOT EXISTS estimated jsonb,
    ADD COLUMN IF NOT EXISTS lost_performance boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS age_days double precision;
"""
JSON_FIELDS = ("drifted", "performance", "performance_interval", "estimated")


@dataclass(frozen=True)
class Record:
    """One look at a version's predictions. `figures` maps (figure, feature or metric or "") to a finite number.

    `performance_interval` has low and high of the declared metric; `lost_performance` says whether it is worse than at
    training beyond doubt.
    """

    run_id: str
    project: str
    version: int
    window_from: datetime
    window_to: datetime
    predictions: int
    labelled: int
    drift: bool
    drift_share: float
    drifted: list[str]
    performance: dict[str, float] | None
    performance_interval: dict[str, list[float]] | None
    estimated: dict[str, float] | None
    lost_performance: bool
    age_days: float
    report_url: str
    figures: dict[tuple[str, str], float]


def write(env: Environment, record: Record) -> None:
    """Add the record to ``monitoring.runs`` and ``monitoring.figures``, both or neither."""
    row: dict[str, Any] = {
        **{name: getattr(record, name) for name in Record.__dataclass_fields__ if name != "figures"},
        **{name: _json(getattr(record, name)) for name in JSON_FIELDS},
        "actor": env.actor,
    }
    with connect(env) as connection:
        connection.execute(TABLES)
        connection.execute(
            """
            INSERT INTO monitoring.runs (run_id, project, version, window_from, window_to, predictions, labelled,
                drift, drift_share, drifted, performance, performance_interval, estimated, lost_performance, age_days,
                report_url, actor)
            VALUES (%(run_id)s, %(project)s, %(version)s, %(window_from)s, %(window_to)s, %(predictions)s,
                %(labelled)s, %(drift)s, %(drift_share)s, %(drifted)s, %(performance)s,
                %(performance_interval)s, %(estimated)s, %(lost_performance)s, %(age_days)s, %(report_url)s, %(actor)s)
            """,
            row,
        )
        connection.cursor().executemany(
            "INSERT INTO monitoring.figures (run_id, figure, name, value) VALUES (%s, %s, %s, %s)",
            [(record.run_id, figure, name, value) for (figure, name), value in record.figures.items()],
        )


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def push(env: Environment, record: Record) -> str | None:
    """Push the record's figures as gauges, if a Pushgateway is there; a warning if that fails, else None.

    The gauges of a project replace those of its last push, so a version that is gone leaves nothing behind.
    """
    if not env.pushgateway_url:
        return None

    def handler(url: str, method: str, timeout: float | None, headers: Any, data: bytes) -> Any:
        if not env.pushgateway_username:
            return default_handler(url, method, timeout, headers, data)
        username, password = env.pushgateway_username, env.pushgateway_password
        return basic_auth_handler(url, method, timeout, headers, data, username, password)

    try:
        push_to_gateway(
            env.pushgateway_url,
            job="monitoring",
            registry=gauges(record),
            grouping_key={"project": record.project},
            timeout=PUSH_SECONDS,
            handler=handler,
        )
    except (OSError, ValueError) as error:
        return f"the figures could not be pushed to {env.pushgateway_url}: {error}"
    return None


def gauges(record: Record) -> CollectorRegistry:
    """The record as Prometheus gauges ``platform_monitoring_<figure>{version, name}``."""
    registry = CollectorRegistry()
    made: dict[str, Gauge] = {}
    figures = {
        ("drift_share", ""): record.drift_share,
        ("drift", ""): float(record.drift),
        ("predictions", ""): float(record.predictions),
        ("labelled", ""): float(record.labelled),
        ("lost_performance", ""): float(record.lost_performance),
        ("age_days", ""): record.age_days,
        ("window_end_timestamp_seconds", ""): record.window_to.timestamp(),
        **record.figures,
    }
    for (figure, name), value in figures.items():
        if figure not in made:
            labels = ["version", "name"] if name else ["version"]
            made[figure] = Gauge(
                f"{METRIC_PREFIX}_{figure}", f"{figure} of recent predictions", labels, registry=registry
            )
        values = {"version": str(record.version)} | ({"name": name} if name else {})
        made[figure].labels(**values).set(value)
    return registry
