"""How a step's process ends: with its exit code, after all that was to happen at the exit."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time
from pipelines.process import run_briefly

class Held:
    def __del__(self):
        print("taken apart")

held = Held()

def work():
    time.sleep(0.2)
    print("thread")

def main():
    atexit.register(print, "at the exit")
    threading.Thread(target=work).start()
    sys.stdout.write("said ")
    {ends}

run_briefly(main)
"""


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ("return", 0),
        ("sys.exit()", 0),
        ("sys.exit(99)", 99),
        ("sys.exit('told')", 1),
        ("raise ValueError('broken')", 1),
    ],
)
def test_it_ends_with_its_code_after_its_threads_and_exit_functions(ends: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ends=ends)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert done.stdout == "said thread\nat the exit\n"
    assert ("told" in done.stderr, "ValueError: broken" in done.stderr) == ("told" in ends, "broken" in ends)
