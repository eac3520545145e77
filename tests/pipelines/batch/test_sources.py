"""Reading tables of a real PostgreSQL, and files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.batch.model import Scorer
from pipelines.batch.places import File, Table
from pipelines.batch.sources import batches, fetch
from pipelines.environment import Environment
from pipelines.errors import StepError
from tests.pipelines.batch.cases import orders
from tools.postgres import Postgres

SCORER = Scorer(
    name="shop",
    version=3,
    digest="d",
    task="classification",
    entity_key="order_id",
    features={"country": "category", "price": "number", "items": "integer", "gift": "boolean"},
    required=("price",),
)
TABLE = Table("marts.orders")


@pytest.fixture
def env(postgres: Postgres, variables: dict[str, str]) -> Environment:
    return Environment.from_env(variables | {"WAREHOUSE_URL": postgres.url("pipelines")})


def fill(env: Environment, values: list[tuple[object, ...]], price: str = "numeric") -> None:
    """The table, with the columns in another order than the model takes them, and one that it does not take."""
    with psycopg.connect(env.warehouse_url) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts; DROP TABLE IF EXISTS marts.orders")
        connection.execute(
            f"CREATE TABLE marts.orders (gift boolean, items int, price {price}, country text, note text, "
            "order_id text)"
        )
        connection.cursor().executemany("INSERT INTO marts.orders VALUES (%s, %s, %s, %s, 'n', %s)", values)


def read(env: Environment, source: Table | File, scratch: Path) -> tuple[str, pa.Table]:
    found = fetch(env, source, SCORER, scratch)
    return found.digest, pa.Table.from_batches(batches(found, SCORER))


def test_a_table_is_read_in_the_order_of_its_key(env: Environment, tmp_path: Path) -> None:
    fill(env, [(True, 2, 1.5, "", "b"), (None, None, 2, None, "a")])
    digest, rows = read(env, TABLE, tmp_path)
    assert rows.to_pylist() == [
        {"order_id": "a", "country": None, "price": 2.0, "items": None, "gift": None},
        {"order_id": "b", "country": "", "price": 1.5, "items": 2, "gift": True},
    ]
    fill(env, [(None, None, 2, None, "a"), (True, 2, 1.5, "", "b")])
    assert read(env, TABLE, tmp_path)[0] == digest
    fill(env, [(None, None, 2, None, "a"), (True, 2, 1.6, "", "b")])
    assert read(env, TABLE, tmp_path)[0] != digest


def test_a_table_that_is_not_there_or_lacks_a_column_is_told(env: Environment, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no such table"):
        read(env, Table("marts.nothing"), tmp_path)
    fill(env, [])
    with psycopg.connect(env.warehouse_url) as connection:
        connection.execute("ALTER TABLE marts.orders RENAME price TO cost")
    with pytest.raises(StepError, match="no column price, which shop version 3 takes") as refusal:
        read(env, TABLE, tmp_path)
    assert "cost" in refusal.value.do


def test_a_value_of_another_type_is_told(env: Environment, tmp_path: Path) -> None:
    fill(env, [(None, 1, "dear", "de", "a")], price="text")
    with pytest.raises(StepError, match=r'does not have the type that shop version 3 takes.*"dear"') as refusal:
        read(env, TABLE, tmp_path)
    assert "price (number)" in refusal.value.do


def test_a_table_that_may_not_be_read_is_told(postgres: Postgres, env: Environment, tmp_path: Path) -> None:
    postgres.query("CREATE TABLE marts.hidden (order_id text)")
    with pytest.raises(StepError, match="may not be read"):
        read(env, Table("marts.hidden"), tmp_path)


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_a_file_is_read_in_its_order(env: Environment, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    written = orders(500).assign(gift=[True, None] * 250, note="n").iloc[::-1].reset_index(drop=True)
    written.to_csv(file, index=False) if name.endswith("csv") else written.to_parquet(file, index=False)
    digest, rows = read(env, File(file), tmp_path)
    assert rows.column_names == ["order_id", "country", "price", "items", "gift"]
    pd.testing.assert_frame_equal(rows.to_pandas(), written[rows.column_names], check_dtype=False)
    file.write_bytes(file.read_bytes() + b"\n")
    assert fetch(env, File(file), SCORER, tmp_path).digest != digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column order_id, country"),
        ("order_id,country,items,gift\na,de,1,t\n", "no column price"),
        ("order_id,country,price,price,items,gift\na,de,1,1,1,t\n", "column price twice"),
        (
            "order_id,country,price,items,gift\na,de,dear,1,t\n",
            r"column price: Row #2: CSV conversion error.*'dear'",
        ),
        ("order_id,country,price,items,gift\na,de,1\n", "Expected 5 columns, got 3"),
    ],
)
def test_a_csv_file_that_cannot_be_read_is_told(env: Environment, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "new.csv"
    file.write_text(text)
    with pytest.raises(StepError, match=told) as refusal:
        read(env, File(file), tmp_path)
    assert refusal.value.where == str(file)


def test_a_parquet_file_that_cannot_be_read_is_told(env: Environment, tmp_path: Path) -> None:
    file = tmp_path / "new.parquet"
    with pytest.raises(StepError, match="no such file"):
        read(env, File(file), tmp_path)
    file.write_text("no Parquet")
    with pytest.raises(StepError, match="cannot be read"):
        read(env, File(file), tmp_path)
    orders(3).assign(gift=True, price="dear").to_parquet(file)
    with pytest.raises(StepError, match="column price: Failed to parse string: 'dear'"):
        read(env, File(file), tmp_path)
    pq.write_table(pa.table({"order_id": ["a"], "country": ["de"], "price": [1.0], "gift": [True]}), file)
    with pytest.raises(StepError, match="no column items"):
        read(env, File(file), tmp_path)
