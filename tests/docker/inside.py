"""What the tests see of a stack's containers, and ask in one of them."""

from __future__ import annotations

import json
from typing import Any

from platform_cli.docker.engine import Engine
from platform_cli.home import Home, project_name
from tools.scratch import Stack


def containers(engine: Engine, stack: Stack) -> dict[str, dict[str, Any]]:
    """Service → what the engine says of its container."""
    words = ["ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project_name(Home(stack.home))}"]
    found = json.loads(engine.run("inspect", *engine.run(*words).stdout.split()).stdout)
    return {entry["Config"]["Labels"]["com.docker.compose.service"]: entry for entry in found}


def in_a_step(engine: Engine, stack: Stack, program: str) -> str:
    """What a Python program prints where Airflow's tasks run their steps."""
    words = ["compose/with-secrets.sh", "/opt/envs/pipelines/bin/python", "-c", program]
    return engine.run("exec", containers(engine, stack)["airflow-scheduler"]["Id"], *words).stdout.strip()
