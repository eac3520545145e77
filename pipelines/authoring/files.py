"""The files of a new project, as text: its declaration, its training function, its dbt models, its connection."""

from __future__ import annotations

from importlib.resources import files as package_files
from typing import Any

import yaml

from pipelines.authoring.plan import Field, Plan
from pipelines.project import Task

WIDTH = 110
HEAD = """\
# The declaration of {name}. projects/flight_delay/project.yaml shows every key that there is, with comments;
# docs/bring-your-own-model.md goes through it. `platform check {name}` checks it, `platform test {name}` tries it.
"""
COMMENTS = {
    "data": "The labelled rows. A feature is what is known at the event time, and nothing that became known later.",
    "training": "train.py builds the model from these parameters. The last days are for testing only.",
    "evaluation": "What a candidate must reach, and how much worse than the champion it may be on the same rows.",
    "release": "direct: a candidate that passes becomes the champion at once. Others: shadow, canary.",
    "triggers": "What starts a training besides a person.",
}
METRICS: dict[Task, dict[str, Any]] = {
    # A coin reaches .5, and so does 0 for a model that always says the mean.
    "classification": {"metric": "roc_auc", "minimum": 0.55, "max_loss": 0.01},
    "regression": {"metric": "r2", "minimum": 0.05, "max_loss": 0.02},
}


def render(plan: Plan) -> dict[str, str]:
    """Path in the checkout → content, of every file of the project."""
    name, models = plan.name, f"dbt_project/models/{plan.name}"
    made = {
        f"projects/{name}/project.yaml": _declaration(plan),
        f"projects/{name}/train.py": _template(plan.task),
        f"{models}/sources.yml": _sources(plan),
        f"{models}/staging/stg_{name}.sql": _staging(plan),
        f"{models}/staging/staging.yml": _staging_tests(plan),
        f"{models}/marts/{name}_features.sql": _mart(plan),
        f"{models}/marts/marts.yml": _contract(plan),
    }
    if plan.columns:
        made[f"airbyte/sources/{name}.yaml"] = _airbyte_source(plan)
        made[f"airbyte/connections/{name}.yaml"] = _airbyte_connection(plan)
    return made


def _template(task: Task) -> str:
    return (package_files("pipelines.authoring") / "templates" / f"{task}.py").read_text(encoding="utf-8")


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=WIDTH)


def _declaration(plan: Plan) -> str:
    nullable = [item.name for item in plan.features if item.nullable]
    sections = {
        "description": f"What is {plan.target.name} of the next rows of {plan.table}?",
        "task": plan.task,
        "data": {
            **({"connections": [plan.name], "schedule": None} if plan.columns else {}),
            "dbt_select": f"+{plan.name}_features",
            "table": f"marts.{plan.name}_features",
            "entity_key": plan.key.name,
            "event_time": plan.time.name,
            "target": plan.target.name,
            "target_known_after": "0s",
            "features": {item.name: item.kind for item in plan.features},
            **({"nullable": nullable} if nullable else {}),
        },
        "training": {
            "entry_point": "train:build",
            "parameters": {"max_iter": 100, "learning_rate": 0.1},
            "split": {"test_days": plan.test_days},
            "seed": 1,
            "minimum_rows": plan.minimum_rows,
        },
        "evaluation": METRICS[plan.task],
        "release": {"strategy": "direct"},
        "triggers": {"on_new_data": True},
    }
    parts = [HEAD.format(name=plan.name)]
    for key, content in sections.items():
        comment = f"\n# {COMMENTS[key]}\n" if key in COMMENTS else ""
        parts.append(comment + _dump({key: content}))
    return "".join(parts)


def _sources(plan: Plan) -> str:
    schema, _, table = plan.table.partition(".")
    where = (
        "What Airbyte loads from the landing bucket." if plan.columns else f"The rows of {plan.name} as they arrive."
    )
    return _dump(
        {
            "version": 2,
            "sources": [
                {
                    "name": plan.name,
                    "description": where,
                    "schema": schema,
                    "tables": [{"name": table, "description": "One row an entity."}],
                }
            ],
        }
    )


def _staging(plan: Plan) -> str:
    table = plan.table.partition(".")[2]
    lines = ",\n".join(f"    {_cast(item)}" for item in plan.fields)
    return (
        "-- One row an entity, each column named and typed. Prepare features here: joins, windows, what was known at\n"
        f"-- the time. Everything that is tested stands in front of the mart.\nselect\n{lines}\n"
        f"from {{{{ source('{plan.name}', '{table}') }}}}\n"
    )


def _cast(item: Field) -> str:
    source = '"' + item.source.replace('"', '""') + '"'
    return f"{source}::{item.type} as {item.name}"


def _staging_tests(plan: Plan) -> str:
    tests: dict[str, list[Any]] = {plan.key.name: ["unique", "not_null"], plan.time.name: ["not_null"]}
    if plan.target.type == "integer":
        tests[plan.target.name] = [{"in_range": {"arguments": {"minimum": 0, "maximum": 1}}}]
    columns = [
        {
            "name": item.name,
            "description": _description(plan, item),
            **({"data_tests": tests[item.name]} if item.name in tests else {}),
        }
        for item in plan.fields
    ]
    return _models(
        f"stg_{plan.name}",
        "The rows of the mart before they are let in: a test that fails here leaves the mart as it was.",
        columns,
    )


def _mart(plan: Plan) -> str:
    return (
        f"-- Replaced as a whole, once every test of stg_{plan.name} has passed.\n"
        f"select * from {{{{ ref('stg_{plan.name}') }}}}\n"
    )


def _contract(plan: Plan) -> str:
    columns: list[dict[str, Any]] = []
    for item in plan.fields:
        column: dict[str, Any] = {
            "name": item.name,
            "description": _description(plan, item),
            "data_type": item.type,
        }
        if item in (plan.key, plan.time):
            column["constraints"] = [{"type": "not_null"}]
        columns.append(column)
    return _models(
        f"{plan.name}_features",
        f"One row an entity: what is known at {plan.time.name}, and {plan.target.name} once it is known.",
        columns,
        config={"contract": {"enforced": True}},
    )


def _models(name: str, description: str, columns: list[dict[str, Any]], **more: Any) -> str:
    model = {"name": name, "description": description, **more, "columns": columns}
    return _dump({"version": 2, "models": [model]})


def _description(plan: Plan, item: Field) -> str:
    roles = {plan.key: "What the row is about.", plan.time: "When a prediction would be asked for."}
    if item == plan.target:
        return "What is predicted; null while it is not known."
    return roles.get(item, f"{item.source} of {plan.table}.")


def _airbyte_source(plan: Plan) -> str:
    return _dump(
        {
            "resource_name": plan.name,
            "definition_type": "source",
            "definition_image": "airbyte/source-s3",
            "definition_version": "4.14.2",
            "configuration": {
                "bucket": "${LANDING_BUCKET}",
                "endpoint": "${S3_ENDPOINT_URL}",
                "region_name": "${AWS_DEFAULT_REGION}",
                "aws_access_key_id": "${AWS_ACCESS_KEY_ID}",
                "aws_secret_access_key": "${AWS_SECRET_ACCESS_KEY}",
                "streams": [
                    {
                        "name": plan.name,
                        "globs": [f"{plan.name}/*.csv"],
                        "format": {"filetype": "csv", "null_values": [""]},
                    }
                ],
            },
        }
    )


def _airbyte_connection(plan: Plan) -> str:
    return _dump(
        {
            "resource_name": plan.name,
            "definition_type": "connection",
            "source": plan.name,
            "destination": "warehouse",
            "schedule": "manual",
            "streams": [
                {
                    "name": plan.name,
                    "sync_mode": "incremental",
                    "destination_sync_mode": "append_dedup",
                    "cursor_field": "_ab_source_file_last_modified",
                    "primary_key": [plan.key.source],
                    "required": [plan.time.source],
                    "columns": plan.columns,
                }
            ],
        }
    )
