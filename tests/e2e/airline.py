"""A copy of the sample under a name of its own: its own files in the bucket, its own schemas, its own dbt project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psycopg

from tests.e2e.steps import run_step
from tools.scratch import REPO

COPIED = ("airbyte", "dbt_project", "projects/flight_delay")
LAYERS = """\
    +materialized: table
    {name}:
      staging: {{+schema: {name}_staging}}
      marts: {{+schema: {name}_marts}}"""


class Airline:
    """The copy, and what a test does with it."""

    def __init__(self, name: str, directory: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.directory = directory
        own = {"PLATFORM_REPO": str(directory), "STEP_STATE_DIR": str(directory / "state"), "PYTHONPATH": str(REPO)}
        self.variables = os.environ | variables | own | {"PLATFORM_COMMIT": "0" * 40, "PLATFORM_ACTOR": "e2e"}
        self.bucket = self.variables["LANDING_BUCKET"]
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.variables["S3_ENDPOINT_URL"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        self._copy()

    def _copy(self) -> None:
        for part in COPIED:
            target = self.directory / part.replace("flight_delay", self.name)
            shutil.copytree(REPO / part, target, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
        dbt = self.directory / "dbt_project"
        for kind in ("models", "tests"):
            (dbt / kind / "flight_delay").rename(dbt / kind / self.name)
        changes = {
            "airbyte/sources/landing.yaml": {"flight_delay/": f"{self.name}/"},
            "airbyte/destinations/warehouse.yaml": {"schema: raw": f"schema: {self.name}_raw"},
            f"dbt_project/models/{self.name}/sources.yml": {"schema: raw": f"schema: {self.name}_raw"},
            f"projects/{self.name}/project.yaml": {"table: marts.": f"table: {self.name}_marts."},
            "dbt_project/dbt_project.yml": {
                "name: platform": f"name: {self.name}",
                "  platform:": f"  {self.name}:",
                "    +materialized: table": LAYERS.format(name=self.name),
                "+schema: dbt_failures": f"+schema: {self.name}_failures",
            },
        }
        for file, pairs in changes.items():
            for old, new in pairs.items():
                self.declare(old, new, file)

    def declare(self, old: str, new: str, file: str) -> None:
        """Change a declaration."""
        path = self.directory / file
        text = path.read_text()
        assert old in text, (file, old)
        path.write_text(text.replace(old, new))

    def call(self, step: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a step."""
        return run_step(self.variables | variables, step, self.name, *options, seconds=300)

    def step(self, step: str, *options: str) -> dict[str, Any]:
        """The result of a step that works."""
        done = self.call(step, *options)
        assert done.returncode == 0, f"{step}: {done.stdout}\n{done.stderr}"
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def refused(self, step: str, *options: str, **variables: str) -> str:
        """The message of a step that fails, which is one message and no result."""
        done = self.call(step, *options, **variables)
        assert done.returncode == 1, f"{step}: {done.stdout}\n{done.stderr}"
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.count("Error: ") == 1
        return done.stderr.partition("Error: ")[2]

    def load(self, months: str) -> dict[str, Any]:
        """Land and ingest months; what the ingestion says."""
        self.step("land", "--months", months)
        return self.step("ingest")

    def file(self, name: str) -> bytes:
        """The content of a file in the bucket."""
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=f"{self.name}/{name}")["Body"].read()
        return content

    def modified(self, name: str) -> datetime:
        """When a file of the bucket was written; the store tells seconds."""
        when: datetime = self.s3.head_object(Bucket=self.bucket, Key=f"{self.name}/{name}")["LastModified"]
        return when

    def put(self, name: str, content: bytes) -> None:
        """Put a file into the bucket, as a partner would."""
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.name}/{name}", Body=content)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the warehouse; its rows, if it has any. ``{name}`` is the airline's."""
        with psycopg.connect(self.variables["WAREHOUSE_URL"]) as connection:
            cursor = connection.execute(query.replace("{name}", self.name), values or None)
            return cursor.fetchall() if cursor.description else []

    def tables(self, *schemas: str) -> dict[str, str]:
        """The content of every table of the schemas as a digest, to see that nothing changed."""
        names = self.sql(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)",
            [f"{self.name}_{schema}" for schema in schemas],
        )
        digest = "count(*) || md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), ''))"
        return {
            f"{schema}.{table}": self.sql(f"SELECT {digest} FROM {schema}.{table} t")[0][0]  # noqa: S608
            for schema, table in names
        }

    def remove(self) -> None:
        """Leave nothing of it in the stack."""
        for schema in ("raw", "staging", "marts", "failures"):
            self.sql(f"DROP SCHEMA IF EXISTS {{name}}_{schema} CASCADE")
        if self.sql("SELECT to_regclass('dbt_failures.failing_nodes')")[0][0]:
            self.sql("DELETE FROM dbt_failures.failing_nodes WHERE project = %s", self.name)
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.name}/").get("Contents", [])
        for item in listed:
            self.s3.delete_object(Bucket=self.bucket, Key=item["Key"])


@contextmanager
def open_airline(directory: Path, variables: dict[str, str]) -> Iterator[Airline]:
    """An airline whose January and planes, airports, airlines are loaded and transformed."""
    airline = Airline(f"airline_{uuid4().hex[:8]}", directory, variables)
    try:
        airline.load("1")
        airline.step("transform")
        yield airline
    finally:
        airline.remove()
