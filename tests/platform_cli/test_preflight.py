from __future__ import annotations

import socket

from platform_cli.home import Home
from platform_cli.local.preflight import _port_findings


def test_a_port_that_is_taken_matters_only_to_what_runs_here(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        (finding,) = _port_findings({"MLFLOW_PORT": port}, home)
        assert f"port {port} (MLFLOW_PORT) is held by" in finding
        # Coder runs only in containers
        assert list(_port_findings({"CODER_PORT": port}, home)) == []
