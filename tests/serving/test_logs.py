"""Lines of the log."""

import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from serving.logs import REQUEST_ID, JsonFormatter

REPO = Path(__file__).parents[2]


def line(message: str, *arguments: Any, **more: Any) -> dict[str, Any]:
    record = logging.LogRecord("serving.x", logging.WARNING, "x.py", 1, message, arguments, None)
    record.__dict__.update(more)
    text = JsonFormatter().format(record)
    assert text.isascii()
    assert "\n" not in text
    return json.loads(text)


def test_a_record_is_one_object() -> None:
    written = line("%s is %d", "model", 3, fields={"model": "m"})
    assert datetime.fromisoformat(written.pop("time")).utcoffset() is not None
    assert written == {"level": "warning", "logger": "serving.x", "message": "model is 3", "model": "m"}


def test_whatever_is_logged_becomes_a_line() -> None:
    assert line("a\nb\u2028\ud800")["message"] == "a\nb\u2028\ud800"
    assert line("x", fields={"path": Path("/x")})["path"] == "/x"


def test_the_request_is_named_while_it_is_answered() -> None:
    token = REQUEST_ID.set("req-1")
    assert line("x")["request_id"] == "req-1"
    REQUEST_ID.reset(token)
    assert "request_id" not in line("x")


def test_a_process_logs_everything_that_way() -> None:
    code = (
        "import logging, warnings; from serving.logs import configure; logging.basicConfig(); configure()\n"
        "logging.getLogger('uvicorn.error').info('started'); warnings.warn('old')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: logging.exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    lines = [json.loads(text) for text in done.stderr.splitlines()]
    assert [entry["logger"] for entry in lines] == ["uvicorn.error", "py.warnings", "root"]
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert not done.stdout
