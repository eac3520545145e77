"""The journal reaches a real PostgreSQL: each row once, whoever is killed, whatever is damaged or refused."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import psycopg
import pytest

from serving.journal import healthcheck
from serving.journal import ship as ship_module
from serving.journal.aside import ASIDE_FILE
from serving.journal.format import Feedback, feedback_line
from serving.journal.segments import Segment, segment_files
from serving.journal.ship import Shipper
from serving.journal.tail import read_parts, segment_name
from tests.serving.fakes import wait_for
from tests.serving.journal.fakes import BIG, REQUEST, answer, command, written
from tests.serving.journal.shipping import aside, ask, ids_of, line, raw_segment, running, ship_all, shipped_ids
from tools.postgres import Postgres

NOW = datetime.now(UTC)


# Rows


def test_a_row_has_everything(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    one = answer(2, role="canary", keys=["k-1", None], x=[1.5, None], name=["ü\\N\t\n", "NULL"])
    one.scores.predictions = ["late", None]
    written(tmp_path, one)
    ship_all(shipper)
    with psycopg.connect(postgres.url()) as connection:
        cursor = connection.execute("SELECT * FROM predictions ORDER BY prediction_id")
        names = [column.name for column in cursor.description or []]
        first, second = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
    assert abs(first.pop("created_at") - NOW) < timedelta(minutes=10)
    assert str(first.pop("prediction_id")) == one.ids.base
    assert first == {
        "model": "m",
        "version": 3,
        "role": "canary",
        "entity_key": "k-1",
        "features": {"x": 1.5, "name": "ü\\N\t\n"},
        "prediction": "late",
        "probability": 0.25,
        "latency_ms": 1.5,
        "caller": "client",
        "request_id": "r-1",
    }
    assert (second["features"], second["entity_key"]) == ({"x": None, "name": "NULL"}, None)


def test_what_is_shipped_and_closed_is_deleted(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    answers = [answer(3), answer(200)]
    written(tmp_path, *answers)
    ship_all(shipper)
    assert segment_files(tmp_path) == []
    assert shipped_ids(postgres) == ids_of(*answers)
    assert shipper.figures.shipped_rows == 203


def test_an_open_segment_is_followed(
    shipper: Shipper, postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "worker-0").mkdir()
    segment = Segment.create(tmp_path / "worker-0", BIG)
    for count in range(1, 4):
        segment.append(line(answer()))
        ship_all(shipper)
        assert len(shipped_ids(postgres)) == count
    half = line(answer())
    os.write(segment.fd, half[:50])
    ship_all(shipper)
    assert len(shipped_ids(postgres)) == 3
    os.write(segment.fd, half[50:])
    ship_all(shipper)
    assert len(shipped_ids(postgres)) == 4
    os.write(segment.fd, half[:50])
    segment.close()
    ship_all(shipper)
    assert (segment_files(tmp_path), len(shipped_ids(postgres)), shipper.figures.damaged_lines) == ([], 4, 0)
    assert "ends with 50 bytes of an unfinished line" in caplog.text


def test_a_new_shipper_goes_on_where_the_last_one_was(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "worker-0").mkdir()
    segment = Segment.create(tmp_path / "worker-0", BIG)
    segment.append(line(answer()))
    ship_all(shipper)
    shipper.close()
    segment.append(line(answer()))
    segment.close()
    ship_all(shipper)
    assert (len(shipped_ids(postgres)), shipper.figures.shipped_rows) == (2, 2)


@pytest.mark.parametrize("where", ["in the middle of COPY", "before commit", "after commit", "before delete"])
def test_a_shipper_that_is_killed_ships_each_row_once(
    where: str, shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    answers = [answer(3), answer(200), answer(1)]
    written(tmp_path, *answers)
    feedback = feedback_line("m", [Feedback(answers[0].ids.base, None, 1, None)], REQUEST, time.time())
    raw_segment(tmp_path, feedback)
    assert subprocess.run(command("ship", str(tmp_path), postgres.url(), where), check=False).returncode == -9
    assert len(shipped_ids(postgres)) == (0 if where in ("in the middle of COPY", "before commit") else 204)
    assert segment_files(tmp_path) != []
    ship_all(shipper)
    assert shipped_ids(postgres) == ids_of(*answers)
    assert ask(postgres, "SELECT times FROM feedback") == [(1,)]
    assert segment_files(tmp_path) == []


def test_what_the_killed_ones_database_session_still_commits_is_not_shipped_again(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    """The session of a shipper that is gone may commit after the next one has read the positions."""
    shipper.round()
    one = answer(5)
    raw_segment(tmp_path, line(one), feedback_line("m", [Feedback(one.ids.base, None, 1, None)], REQUEST, 1.0))
    blocked = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'serving-journal' AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as threads, psycopg.connect(postgres.url()) as late:
        (part,) = read_parts(tmp_path, {})
        late.execute(ship_module._MOVE, (segment_name(part.path), part.stop, 0))
        ship_module.Group([part]).put(late)
        going = threads.submit(shipper.round)
        wait_for(lambda: bool(ask(postgres, blocked, "postgres")))
        late.commit()
        assert isinstance(going.exception(20), ship_module.PositionMoved)
    shipper.close()
    ship_all(shipper)
    assert (shipped_ids(postgres), segment_files(tmp_path)) == (ids_of(one), [])
    assert ask(postgres, "SELECT times FROM feedback") == [(1,)]


def test_writers_and_shippers_that_are_killed_at_any_moment(postgres: Postgres, tmp_path: Path) -> None:
    """Both sides are killed again and again; what was acknowledged arrives once, whole answers only."""
    acknowledged: dict[str, int] = {}
    count = "SELECT coalesce(sum(shipped_bytes), 0) FROM journal_positions"
    Shipper(tmp_path, postgres.url(), 0).round()
    for _ in range(4):
        before = ask(postgres, count)
        writer = subprocess.Popen(command("write", str(tmp_path), "relaxed"), stdout=subprocess.PIPE)
        shipper = subprocess.Popen(command("ship", str(tmp_path), postgres.url(), "never"))
        assert writer.stdout is not None
        found = [writer.stdout.readline() for _ in range(300)]
        wait_for(lambda before=before: ask(postgres, count) > before, 20)
        shipper.kill()
        writer.kill()
        found += writer.stdout.read().splitlines(keepends=True)
        for process in (writer, shipper):
            assert process.wait() == -signal.SIGKILL
        acknowledged |= {text.split()[0].decode(): int(text.split()[1]) for text in found if text.endswith(b"\n")}
    last = Shipper(tmp_path, postgres.url(), 0)
    ship_all(last)
    last.close()
    rows = ask(postgres, "SELECT left(prediction_id::text, 31), count(*) FROM predictions GROUP BY 1")
    arrived = {f"{head}00000": count for head, count in rows}
    assert len(acknowledged) >= 1200
    assert acknowledged.items() <= arrived.items()
    assert set(arrived.values()) <= {1, 3, 200}


# PostgreSQL's absences


def test_an_outage_is_waited_out(
    shipper: Shipper, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_module, "_LAST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr("serving.journal.figures._EVERY_SECONDS", 0.01)
    before, meanwhile, after = answer(), answer(), answer()
    with running(shipper):
        written(tmp_path, before)
        wait_for(lambda: shipper.figures.shipped_rows == 1, 20)
        postgres.stop()
        written(tmp_path, meanwhile)
        wait_for(lambda: not shipper.figures.postgres_up and shipper.figures.waiting_bytes > 0)
        first = shipper.figures.lag_seconds
        wait_for(lambda: shipper.figures.lag_seconds > first > 0)
        assert healthcheck.problem(tmp_path) is None
        postgres.start()
        wait_for(lambda: shipper.figures.shipped_rows == 2, 20)
        written(tmp_path, after)
        wait_for(lambda: shipper.figures.shipped_rows == 3, 20)
        wait_for(lambda: shipper.figures.waiting_bytes == 0 and shipper.figures.lag_seconds == 0.0)
    assert shipped_ids(postgres) == ids_of(before, meanwhile, after)
    assert shipper.figures.postgres_up


def test_an_idle_shipper_notices_an_outage(
    shipper: Shipper, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_module, "_PING_SECONDS", 0.01)
    with running(shipper):
        wait_for((tmp_path / healthcheck.FIGURES_FILE).exists, 20)
        ask(
            postgres,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'serving-journal'",
            "postgres",
        )
        wait_for(lambda: not shipper.figures.postgres_up)
        wait_for(lambda: shipper.figures.postgres_up)


# Damage and refusals


def test_a_damaged_line_is_left_out_and_told(
    shipper: Shipper, postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, last = answer(), answer()
    damaged = line(answer()).replace(b"champion", b"chimpion")
    path = raw_segment(tmp_path, line(first), damaged, line(last))
    ship_all(shipper)
    assert shipped_ids(postgres) == ids_of(first, last)
    assert (shipper.figures.damaged_lines, shipper.figures.refused_rows) == (1, 0)
    (kept,) = aside(tmp_path)
    assert (kept["segment"], kept["offset"]) == (f"worker-7/{path.stem}", len(line(first)))
    assert kept["line"].encode("latin-1") == damaged[:-1]
    assert f"line damaged in segment worker-7/{path.stem} at byte {len(line(first))}" in caplog.text
    assert (tmp_path / ASIDE_FILE).stat().st_mode & 0o077 == 0


def test_rows_that_postgresql_refuses_are_put_aside_and_block_nothing(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    good = answer(50)
    bad = answer(50, name=["a\x00" if row in (7, 33) else "a" for row in range(50)])
    raw_segment(tmp_path, line(good), line(bad), line(answer(1, keys=["\x00"])))
    ship_all(shipper)
    refused = [bad.ids.texts()[row] for row in (7, 33)]
    assert shipped_ids(postgres) == sorted(set(ids_of(good, bad)) - set(refused))
    kept = aside(tmp_path)
    assert [one["row"]["prediction_id"] for one in kept[:2]] == refused
    assert kept[0]["row"]["features"] == '{"name":"a\\u0000"}'
    assert [one["reason"] for one in kept] == [
        "unsupported Unicode escape sequence",
        "unsupported Unicode escape sequence",
        "PostgreSQL text fields cannot contain NUL (0x00) bytes",
    ]
    assert (shipper.figures.shipped_rows, shipper.figures.refused_rows) == (98, 3)
    assert segment_files(tmp_path) == []


def test_an_entry_that_this_version_does_not_know_is_put_aside(
    shipper: Shipper, postgres: Postgres, tmp_path: Path
) -> None:
    good, strange = answer(), answer()
    strange.scores.predictions = []
    unknown = feedback_line("m", [], REQUEST, 1.0).replace(b'"feedback"', b'"feedbacks"')
    unknown = b"%08x %b" % (crc32(unknown[9:-1]), unknown[9:])
    raw_segment(tmp_path, unknown, line(strange), line(good))
    ship_all(shipper)
    assert shipped_ids(postgres) == ids_of(good)
    assert [one["entry"]["kind"] for one in aside(tmp_path)] == ["feedbacks", "predictions"]
    assert (shipper.figures.shipped_rows, shipper.figures.refused_rows) == (1, 2)


def test_what_a_caller_sends_as_request_id_cannot_hurt(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    ids = ["\x00", "\\.", "\\N", "\t\n\r", "ü" * 1000, "';--"]
    for identity in ids:
        request: Any = SimpleNamespace(caller=SimpleNamespace(name="c\x00"), request_id=identity)
        raw_segment(tmp_path, line(answer(), request))
    ship_all(shipper)
    found = {row[0] for row in ask(postgres, "SELECT request_id FROM predictions")}
    assert found == {identity.replace("\x00", "\ufffd") for identity in ids}


def test_rows_that_are_there_already_stay_once(shipper: Shipper, postgres: Postgres, tmp_path: Path) -> None:
    """A journal that was restored from a copy, after its positions were forgotten."""
    one, two = answer(20), answer(20)
    raw_segment(tmp_path, line(one))
    ship_all(shipper)
    raw_segment(tmp_path, line(two), line(one), line(answer(1, name=["\x00"])))
    ship_all(shipper)
    assert shipped_ids(postgres) == ids_of(one, two)
    assert shipper.figures.refused_rows == 1
