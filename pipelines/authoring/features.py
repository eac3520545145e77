"""What a project declares against the contract of its mart in the dbt project."""

from __future__ import annotations

from typing import Any

from pipelines.project import Project, Task

_INTEGERS = {"smallint", "integer", "int", "int2", "int4", "int8", "bigint"}
_NUMBERS = _INTEGERS | {"real", "double precision", "float", "float4", "float8", "numeric", "decimal"}
_TEXTS = {"text", "varchar", "character varying", "char", "character", "bpchar", "uuid"}
_TIMES = {"timestamp", "timestamptz", "timestamp without time zone", "timestamp with time zone", "date"}
_BOOLEANS = {"boolean", "bool"}
ALLOWED: dict[str, set[str]] = {
    "category": _TEXTS | _INTEGERS | _BOOLEANS,
    "number": _NUMBERS,
    "integer": _INTEGERS,
    "boolean": _BOOLEANS,
}
TARGETS: dict[Task, set[str]] = {"classification": _BOOLEANS | _INTEGERS, "regression": _NUMBERS}


def problems(project: Project, manifest: dict[str, Any], selected: list[str]) -> list[str]:
    """Where the declaration and the mart's contract in dbt's `manifest` differ; `selected` are those of dbt_select."""
    data = project.data
    schema, _, name = data.table.partition(".")
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    mart = next((key for key, node in models.items() if (node["schema"], node["alias"]) == (schema, name)), None)
    if mart is None:
        built = ", ".join(sorted(f"{models[key]['schema']}.{models[key]['alias']}" for key in selected))
        return [f"data.table: no dbt model builds {data.table}; data.dbt_select builds {built or 'nothing'}"]
    found = [] if mart in selected else [f"data.dbt_select {data.dbt_select!r} does not build {data.table}"]
    node = models[mart]
    if not node["contract"]["enforced"]:
        return [*found, f"{node['original_file_path']}: the mart has no enforced contract (config: contract: enforced)"]
    types = {key: _plain(column["data_type"] or "") for key, column in node["columns"].items()}
    wanted: dict[str, tuple[str, set[str], str]] = {
        name: (f"data.features.{name}", ALLOWED[kind], kind) for name, kind in data.features.items()
    }
    wanted |= {
        data.entity_key: ("data.entity_key", _TEXTS | _INTEGERS, "key"),
        data.event_time: ("data.event_time", _TIMES, "event time"),
        data.target: ("data.target", TARGETS[project.task], f"target of a {project.task}"),
    }
    for column, (key, allowed, role) in wanted.items():
        if column not in types:
            found.append(f"{key}: {data.table} has no column {column}; its contract has {', '.join(types)}")
        elif types[column] not in allowed:
            found.append(f"{key}: {column} is {types[column]} in the contract of {data.table}, which is no {role}")
    return found


def _plain(type_name: str) -> str:
    """`type_name` without its length, in small letters."""
    return type_name.lower().partition("(")[0].strip()
