"""The shipper as the service that runs it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from serving.journal import healthcheck
from tests.serving.fakes import wait_for
from tests.serving.journal.fakes import answer, written
from tests.serving.journal.shipping import shipped_ids
from tools.postgres import Postgres


def service(journal: Path, **env: str) -> "subprocess.Popen[str]":
    assert journal.name == "journal"
    return subprocess.Popen(
        [sys.executable, "-m", "serving.journal"],
        env=os.environ | {"SERVING_DATA_DIR": str(journal.parent)} | env,
        stderr=subprocess.PIPE,
        text=True,
    )


def health(journal: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", "-S", healthcheck.__file__, str(journal)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def figures(journal: Path) -> dict[str, float]:
    """The figures as Prometheus reads them, by name."""
    text = (journal / healthcheck.FIGURES_FILE).read_text()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def test_the_service(postgres: Postgres, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    assert "has not begun yet" in health(journal).stderr
    first = service(journal, PREDICTIONS_URL=postgres.url())
    wait_for(lambda: health(journal).returncode == 0, 20)
    second = service(journal, PREDICTIONS_URL=postgres.url())
    assert second.stderr is not None
    assert "another shipper has this journal" in second.stderr.readline()
    written(journal, answer())
    wait_for(lambda: len(shipped_ids(postgres)) == 1)
    wait_for(lambda: figures(journal)["serving_journal_shipped_rows_total"] == 1.0)
    now = figures(journal)
    assert (now["serving_journal_postgres_up"], now["serving_journal_refused_rows_total"]) == (1.0, 0.0)
    assert abs(now["serving_journal_shipper_heartbeat_timestamp_seconds"] - time.time()) < 60
    first.terminate()
    assert first.wait(20) == 0
    written(journal, answer())
    wait_for(lambda: len(shipped_ids(postgres)) == 2, 20)
    second.terminate()
    assert second.wait(20) == 0
    os.utime(journal / healthcheck.FIGURES_FILE, (1, 1))
    stale = health(journal)
    assert (stale.returncode, "the shipper has not moved for" in stale.stderr) == (1, True)


def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    process = service(tmp_path / "journal", SERVING_DATA_DIR="", PREDICTIONS_URL="", SERVING_RETENTION_DAYS="-1")
    _, told = process.communicate()
    assert process.returncode == 2
    for name in ("PREDICTIONS_URL is not set", "SERVING_DATA_DIR is not set", "SERVING_RETENTION_DAYS: expected"):
        assert name in told
