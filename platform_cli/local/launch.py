"""Starts one service: `python -I -S launch.py SPEC.json`.

supervisord runs this in place of the service. It clears away what an earlier life of the service left running, drops
to the service's user, and becomes the service. The environment comes from the file, of mode 0600, so that no secret
stands in supervisord's configuration or on a command line.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from platform_cli.local.processes import end, own_line, stack_processes

LEFTOVER_GRACE = 3.0


def main(file: Path) -> None:
    """Become the service that `file` describes."""
    spec = json.loads(file.read_text())
    line = own_line()
    leftovers = [
        process.pid
        for process in stack_processes(Path(spec["home"]))
        if process.service == spec["service"] and process.pid not in line
    ]
    if leftovers:
        print(f"{spec['service']}: ending what an earlier start left: {leftovers}", flush=True)
        end(leftovers, grace=LEFTOVER_GRACE)
    # before the user changes: the checkout may lie below a directory that only root can pass through
    os.chdir(spec["directory"])
    if spec["user"]:
        account = pwd.getpwnam(spec["user"])
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.umask(0o077)
    os.execvpe(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606


if __name__ == "__main__":
    main(Path(sys.argv[1]))
