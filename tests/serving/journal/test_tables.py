"""The tables: months come and go, the table of before is taken over, feedback meets its predictions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from serving.journal.format import Feedback
from serving.journal.segments import Segment
from serving.journal.ship import Shipper
from serving.journal.tables import Tables, next_month
from serving.journal.tail import segment_name
from tests.serving.journal.fakes import BIG, answer, written
from tests.serving.journal.shipping import aside, ask, at, give, ids_of, line, raw_segment, ship_all, shipped_ids
from tools.postgres import Postgres

NOW = datetime.now(UTC)


def test_rows_go_to_the_months_that_they_are_of(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    december = datetime(2024, 12, 31, 23, 59, 59, 999000, UTC)
    written(tmp_path, at(december), at(december + timedelta(milliseconds=1)), at(datetime(2025, 6, 1, tzinfo=UTC)))
    ship_all(shipper)
    partitions = {name for (name,) in ask(postgres, "SELECT DISTINCT tableoid::regclass::text FROM predictions")}
    assert partitions == {"predictions_2024_12", "predictions_2025_01", "predictions_2025_06"}
    assert months(postgres) == partitions | {f"predictions_{month:%Y_%m}" for month in (NOW, next_month(NOW))}
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'predictions_2024_12'"
    assert ask(postgres, indexes) == [(3,)]


def test_a_reader_does_not_hold_up_new_months(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    written(tmp_path, answer())
    ship_all(shipper)
    with psycopg.connect(postgres.url("pipelines")) as reader:
        reader.execute("SELECT count(*) FROM predictions")
        written(tmp_path, at(datetime(2024, 12, 1, tzinfo=UTC)))
        ship_all(shipper)
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (2,)


def months(postgres: Postgres) -> set[str]:
    return {name for (name,) in ask(postgres, "SELECT relid::text FROM pg_partition_tree('predictions') WHERE isleaf")}


def test_retention_drops_whole_old_months_and_old_feedback(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    old, edge = NOW - timedelta(days=150), NOW - timedelta(days=59)
    answers = [at(old), at(edge), at(NOW)]
    raw_segment(tmp_path, *map(line, answers))
    for moment in (old, edge, NOW):
        give(shipper, tmp_path, moment.timestamp(), Feedback(None, f"{moment}", 1, None))
    assert len(shipped_ids(postgres)) == 3
    shipper.close()
    for days, kept in ((0, 3), (60, 2), (1, 1)):
        other = Shipper(tmp_path, postgres.url(), days)
        other.round()
        other.close()
        assert len(shipped_ids(postgres)) >= kept
        assert ask(postgres, "SELECT count(*) FROM feedback") == [(kept,)]
        assert (f"predictions_{old:%Y_%m}" in months(postgres)) == (days == 0)
        assert (f"predictions_{edge:%Y_%m}" in months(postgres)) == (days != 1)
        assert months(postgres) >= {f"predictions_{month:%Y_%m}" for month in (NOW, next_month(NOW))}


def test_a_month_that_is_being_read_is_dropped_later(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("serving.journal.tables._DROP_WAIT", "SET LOCAL lock_timeout = '10ms'")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        tables = Tables(connection)
        tables.prepare_months([datetime(2024, 12, 1, tzinfo=UTC)])
        with psycopg.connect(postgres.url("pipelines")) as reader:
            reader.execute("SELECT count(*) FROM predictions")
            tables.care(NOW, 60)
        assert "predictions_2024_12" in {name for _, name in tables._partitions()}
        tables.care(NOW, 60)
        assert "predictions_2024_12" not in {name for _, name in tables._partitions()}
        tables.prepare_months([datetime(2024, 12, 1, tzinfo=UTC)])


def test_a_month_that_cannot_be_dropped_does_not_hold_up_the_rows(
    postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        Tables(connection).prepare_months([datetime(2024, 12, 1, tzinfo=UTC)])
    postgres.query("CREATE VIEW somebodys AS SELECT * FROM predictions_2024_12")
    one = answer()
    written(tmp_path, one)
    shipper = Shipper(tmp_path, postgres.url(), 60)
    ship_all(shipper)
    shipper.close()
    assert shipped_ids(postgres) == ids_of(one)
    assert "cannot drop table predictions_2024_12" in caplog.text


PLAIN = """
CREATE TABLE predictions (
    prediction_id uuid PRIMARY KEY, created_at timestamptz NOT NULL, model text NOT NULL, version int NOT NULL,
    alias text NOT NULL, entity_key text, features jsonb NOT NULL, prediction jsonb NOT NULL,
    probability double precision, latency_ms double precision NOT NULL, caller text NOT NULL
);
CREATE INDEX predictions_by_time ON predictions (model, created_at);
CREATE INDEX predictions_by_entity ON predictions (model, entity_key);
INSERT INTO predictions
SELECT gen_random_uuid(), moment, 'm', 2, 'champion', 'k', '{"x": 1}', 'true', 0.5, 1.5, 'client'
FROM generate_series('2026-01-31 22:00+00'::timestamptz, '2026-03-01 02:00+00', '1 hour') AS moment;
"""


def test_the_plain_table_of_before_keeps_its_rows(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    with psycopg.connect(postgres.url()) as connection:
        connection.execute(PLAIN)
    content = "SELECT count(*), min(created_at), max(created_at), count(DISTINCT prediction_id) FROM predictions"
    before = ask(postgres, content)
    shipper.round()
    assert ask(postgres, content) == before
    (row,) = ask(
        postgres,
        "SELECT DISTINCT model, version, role, entity_key, features, prediction, probability, latency_ms, caller, "
        "request_id FROM predictions",
        "pipelines",
    )
    assert row == ("m", 2, "champion", "k", {"x": 1}, True, 0.5, 1.5, "client", None)
    indexes = {name for (name,) in ask(postgres, "SELECT indexname FROM pg_indexes WHERE tablename = 'predictions'")}
    assert indexes == {"predictions_pkey", "predictions_by_time", "predictions_by_entity"}
    written(tmp_path, answer())
    ship_all(shipper)
    shipper.close()
    shipper.round()
    assert ask(postgres, content)[0][0] == before[0][0] + 1


def test_the_pipelines_may_read_and_nothing_else(shipper: Shipper, postgres: Postgres) -> None:
    shipper.round()
    for table in ("predictions", "feedback", "outcomes"):
        assert ask(postgres, f"TABLE {table}", "pipelines") == []
    for statement in ("DELETE FROM predictions", "DELETE FROM feedback", "TABLE journal_positions"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(postgres, statement, "pipelines")


def test_positions_are_kept_for_a_while_and_as_long_as_their_segments(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    shipper.round()
    (tmp_path / "worker-0").mkdir()
    segment = Segment.create(tmp_path / "worker-0", BIG)
    present = segment_name(segment.path)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.cursor().executemany(
            "INSERT INTO journal_positions VALUES (%s, 7, now() - %s * interval '1 day')",
            [("worker-0/1", 29), ("worker-0/2", 31), (present, 31)],
        )
    shipper.close()
    shipper.round()
    segment.close()
    assert {name for (name,) in ask(postgres, "SELECT segment FROM journal_positions")} == {"worker-0/1", present}


# Feedback


def feedback_table(postgres: Postgres) -> list[Any]:
    return ask(
        postgres,
        "SELECT subject, key, outcome, extract(epoch FROM observed_at)::int, extract(epoch FROM received_at)::int, "
        "times FROM feedback ORDER BY subject, key",
    )


def test_later_feedback_replaces_and_repeated_feedback_only_counts(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    give(shipper, tmp_path, 100.0, Feedback(None, "k", "a", None))
    give(shipper, tmp_path, 200.0, Feedback(None, "k", "a", None))
    assert feedback_table(postgres) == [("entity", "k", "a", None, 100, 2)]
    give(shipper, tmp_path, 300.0, Feedback(None, "k", "b", None), Feedback(None, "k", "c", None))
    assert feedback_table(postgres) == [("entity", "k", "c", None, 300, 4)]
    give(shipper, tmp_path, 400.0, Feedback(None, "k", "late", 250.0))
    assert feedback_table(postgres) == [("entity", "k", "c", None, 300, 5)], "it was observed before"
    give(shipper, tmp_path, 350.0, Feedback(None, "k", "d", 390.0))
    assert feedback_table(postgres) == [("entity", "k", "d", 390, 350, 6)]
    give(shipper, tmp_path, 500.0, Feedback(None, "k", "d", 390.0))
    assert feedback_table(postgres) == [("entity", "k", "d", 390, 350, 7)]


def test_feedback_in_bulk(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    give(shipper, tmp_path, 100.0, *(Feedback(None, f"k{number}", number, None) for number in range(3000)))
    give(shipper, tmp_path, 100.0, Feedback(None, "k1", "\x00", None), Feedback(None, "k1", 7, 1e300))
    assert ask(postgres, "SELECT count(*), sum(times) FROM feedback") == [(3000, 3000)]
    assert [one["row"]["key"] for one in aside(tmp_path)] == ["k1", "k1"]


def test_outcomes_join_by_prediction_or_else_by_entity(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    by_id, by_entity, by_both, unknown, shadow, other = (
        answer(1, keys=[key], role=role, model=model)
        for key, role, model in [
            (None, "champion", "m"),
            ("e", "canary", "m"),
            ("b", "champion", "m"),
            ("u", "champion", "m"),
            ("e", "shadow", "m"),
            ("e", "champion", "other"),
        ]
    )
    raw_segment(tmp_path, *map(line, (by_id, by_entity, by_both, unknown, shadow, other)))
    give(
        shipper,
        tmp_path,
        100.0,
        Feedback(by_id.ids.base, None, 1, None),
        Feedback(None, "e", 2, 50.0),
        Feedback(by_both.ids.base, None, 3, 60.0),
        Feedback(None, "b", 4, 90.0),
        Feedback(shadow.ids.base, None, 5, None),
    )
    found = ask(
        postgres,
        "SELECT prediction_id::text, role, outcome, known_by, extract(epoch FROM observed_at)::int FROM outcomes",
        "pipelines",
    )
    assert sorted(found) == sorted(
        [
            (by_id.ids.base, "champion", 1, "prediction", 100),
            (by_entity.ids.base, "canary", 2, "entity", 50),
            (by_both.ids.base, "champion", 3, "prediction", 60),
        ]
    )


def test_feedback_may_come_before_its_prediction_has_arrived(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    one = answer()
    give(shipper, tmp_path, 100.0, Feedback(one.ids.base, None, 1, None))
    raw_segment(tmp_path, line(one))
    ship_all(shipper)
    assert ask(postgres, "SELECT prediction_id::text, outcome FROM outcomes") == [(one.ids.base, 1)]
