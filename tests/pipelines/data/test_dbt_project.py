"""The dbt project, as its manifest tells it. The manifest is made without a database, as Airflow's is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.failures import FailingNode, describe
from pipelines.data.transform import _counts, _reason
from pipelines.project import load_project

REPO = Path(__file__).resolve().parents[3]
MART = "model.platform.flight_delay_features"
GATE = "model.platform.stg_flight_features"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("dbt")
    directory = str(REPO / "dbt_project")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WAREHOUSE_")}
    variables |= {"DBT_PROJECT_DIR": directory, "DBT_PROFILES_DIR": directory}
    variables |= {"DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target)}
    dbt = Path(sys.executable).with_name("dbt")
    subprocess.run([str(dbt), "--warn-error", "parse"], env=variables, check=True, capture_output=True, timeout=120)
    content: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    return content


def models(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}


def dbt_tests(manifest: dict[str, Any], model: str) -> list[dict[str, Any]]:
    nodes = manifest["nodes"].values()
    return [node for node in nodes if node["resource_type"] == "test" and model in node["depends_on"]["nodes"]]


def test_the_schemas_are_called_as_declared(manifest: dict[str, Any]) -> None:
    assert {node["schema"] for node in models(manifest).values()} == {"staging", "marts"}
    assert {node["schema"] for node in dbt_tests(manifest, GATE)} == {"dbt_failures"}


def test_every_model_and_column_is_described(manifest: dict[str, Any]) -> None:
    for name, node in models(manifest).items():
        assert node["description"], name
        assert node["columns"], name
        for column in node["columns"].values():
            assert column["description"], f"{name}.{column['name']}"


def test_the_mart_keeps_its_contract(manifest: dict[str, Any]) -> None:
    mart = manifest["nodes"][MART]
    assert mart["contract"]["enforced"]
    assert all(column["data_type"] for column in mart["columns"].values())
    assert list(mart["columns"]) == list(manifest["nodes"][GATE]["columns"])


def test_the_mart_has_what_the_project_declares(manifest: dict[str, Any]) -> None:
    project = load_project(REPO, "flight_delay")
    columns = manifest["nodes"][MART]["columns"]
    declared = [*project.data.features, project.data.entity_key, project.data.event_time, project.data.target]
    assert not [name for name in declared if name not in columns]
    assert project.data.table == "marts.flight_delay_features"


def test_every_test_of_the_features_stands_before_the_mart(manifest: dict[str, Any]) -> None:
    upstream = {MART}
    while True:
        found = {parent for name in upstream for parent in manifest["parent_map"][name]} | upstream
        if found == upstream:
            break
        upstream = found
    gate_tests = dbt_tests(manifest, GATE)
    assert {"no_leakage", "strictly_before", "mostly_known", "in_range", "relationships"} <= {
        (node.get("test_metadata") or {"name": node["name"]})["name"] for node in gate_tests
    }
    for node in gate_tests:
        # dbt has a model wait for a test only if all that the test looks at is upstream of that model.
        assert set(node["depends_on"]["nodes"]) <= upstream, node["name"]


def test_the_sources_tell_how_fresh_they_are(manifest: dict[str, Any]) -> None:
    fresh = {node["name"] for node in manifest["sources"].values() if (node["freshness"] or {}).get("warn_after")}
    assert fresh == {"flights", "weather"}


def test_a_failing_test_is_told_with_its_rows() -> None:
    node = FailingNode("in_range_x", "test", "models/a.yml", "Got 2 results,\n configured to fail", "d.s.t")
    lines = describe(node, [{"id": "a", "x": -1, "y": None}, {"id": "b", "x": -2, "y": "z" * 500}])
    assert lines[0] == "  test in_range_x (models/a.yml): Got 2 results, configured to fail"
    assert lines[1] == "    id=a, x=-1"
    assert lines[2].startswith("    id=b, x=-2, y=zzz")
    assert len(lines[2]) < 420


def test_the_reason_of_a_failed_run_is_what_dbt_calls_an_error() -> None:
    output = ["Running with dbt=1.11", "", "Encountered an error:", "Compilation Error", "  Model 'a' depends on 'b'"]
    assert _reason(output) == "Compilation Error Model 'a' depends on 'b'"
    assert _reason([]) == "it said nothing"


def test_the_outcome_of_a_run_is_counted(tmp_path: Path) -> None:
    results = [
        {"unique_id": "model.p.a", "status": "success"},
        {"unique_id": "test.p.b", "status": "pass"},
        {"unique_id": "test.p.c", "status": "pass"},
        {"unique_id": "test.p.d", "status": "warn"},
        {"unique_id": "operation.p.e", "status": "success"},
    ]
    (tmp_path / "run_results.json").write_text(json.dumps({"results": results}))
    assert _counts(tmp_path / "run_results.json") == {"models": 1, "tests": 2, "warnings": 1}
