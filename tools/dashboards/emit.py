"""Grafana's JSON of a dashboard: schema 42, the last one of the classic model (Grafana 12 and 13 read it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tools.dashboards.model import COLUMNS, Color, Dashboard, Kind, Panel, Query, Row, Variable

SCHEMA = 42
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
TAG = "platform"
LETTERS = "ABCDEFGH"

JSON = dict[str, Any]


def emit(dashboard: Dashboard, run_books: Mapping[str, str]) -> JSON:
    """The dashboard as Grafana reads it. `run_books` says where that of each alert is."""
    panels = list(_panels(dashboard.rows, run_books))
    return {
        "uid": f"platform-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [_OTHERS],
        "templating": {"list": [_variable(variable) for variable in dashboard.variables]},
        "annotations": {"list": []},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }


# the other dashboards, at the top of each
_OTHERS: JSON = {
    "type": "dashboards",
    "title": "Platform",
    "tooltip": "",
    "icon": "dashboard",
    "tags": [TAG],
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
    "targetBlank": False,
}


def _panels(rows: tuple[Row, ...], run_books: Mapping[str, str]) -> Iterator[JSON]:
    top = 0
    for row in rows:
        yield {
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": _grid(0, top, COLUMNS, 1),
        }
        top += 1
        left = height = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            yield {**_panel(panel, run_books), "gridPos": _grid(left, top, panel.width, panel.height)}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _grid(left: int, top: int, width: int, height: int) -> JSON:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel, run_books: Mapping[str, str]) -> JSON:
    told = [f"{alert}: {run_books[alert]}" for alert in panel.alerts]
    emitted: JSON = {
        "type": str(panel.kind),
        "title": panel.title,
        "description": "\n\n".join([panel.description, *([f"Run-book of {', '.join(told)}"] if told else [])]),
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind](panel),
        "targets": [
            _target(query, letter, panel.kind) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)
        ],
    }
    if panel.kind is Kind.TABLE:
        emitted["transformations"] = _columns(panel.queries)
    return emitted


def _target(query: Query, letter: str, kind: Kind) -> JSON:
    now = kind is not Kind.CHART
    target: JSON = {
        "refId": letter,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.name,
        "instant": now,
        "range": not now,
    }
    return target | ({"format": "table"} if kind is Kind.TABLE else {})


def _defaults(panel: Panel) -> JSON:
    steps = [{"color": str(Color.GOOD), "value": None}, *({"color": str(c), "value": v} for v, c in panel.steps)]
    defaults: JSON = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind is Kind.CHART else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": _mappings(panel.words),
    }
    if panel.kind is Kind.CHART:
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "auto",
            "axisSoftMin": 0,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return defaults


def _mappings(words: Mapping[int, tuple[str, Color]] | None) -> list[JSON]:
    if not words:
        return []
    options = {str(value): {"text": text, "color": str(color)} for value, (text, color) in words.items()}
    return [{"type": "value", "options": options}]


def _overrides(panel: Panel) -> list[JSON]:
    """The units of a table's columns."""
    return [
        {"matcher": {"id": "byName", "options": query.name}, "properties": [{"id": "unit", "value": query.unit}]}
        for query in panel.queries
        if query.unit
    ]


def _columns(queries: tuple[Query, ...]) -> list[JSON]:
    """One table of all queries, with their names as titles and without the time."""
    alone = len(queries) == 1
    lettered = zip(LETTERS, queries, strict=False)
    titles = {"Value" if alone else f"Value #{letter}": query.name for letter, query in lettered}
    rename = {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": titles}}
    return [rename] if alone else [{"id": "merge", "options": {}}, rename]


def _stat_options(panel: Panel) -> JSON:
    return {
        "colorMode": "background" if panel.words else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "name" if panel.names_only else "auto",
    }


def _chart_options(_panel: Panel) -> JSON:
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _table_options(panel: Panel) -> JSON:
    largest = {"displayName": panel.queries[0].name, "desc": True}
    return {"showHeader": True, "cellHeight": "sm", "sortBy": [largest]}


_OPTIONS = {Kind.STAT: _stat_options, Kind.CHART: _chart_options, Kind.TABLE: _table_options}


def _variable(variable: Variable) -> JSON:
    query = f"label_values({variable.metric}, {variable.label})"
    emitted: JSON = {
        "type": "query",
        "name": variable.name,
        "label": variable.title,
        "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "refresh": 2,
        "sort": 1,
        "multi": variable.many,
        "includeAll": variable.many,
    }
    return emitted | ({"current": {"text": ["All"], "value": ["$__all"]}} if variable.many else {})
