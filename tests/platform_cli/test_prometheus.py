"""Prometheus takes its configuration, as each runtime writes it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from platform_cli.home import REPO, Home
from platform_cli.stack.compose import load_stack
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.secrets import reveal

PROMTOOL = Path(os.environ["PLATFORM_TEST_ENVS"]) / "prometheus/bin/promtool"


@pytest.mark.parametrize("runtime", ["local", "docker"])
def test_prometheus_takes_its_configuration(home: Home, tmp_path: Path, runtime: str) -> None:
    service = load_stack(home, create_secrets=True).services["prometheus"]
    [text] = [reveal(config.content) for config in service.configs if config.target.name == "prometheus.yml"]
    here, there = (read_env_file(REPO / f"compose/runtime.{name}.env")["CODER_SCRAPE"] for name in ("local", runtime))
    assert f"dns_sd_configs: {here}\n" in text
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace(f"dns_sd_configs: {here}\n", f"dns_sd_configs: {there}\n"))
    done = subprocess.run([PROMTOOL, "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = list((REPO / "compose/prometheus/rules").glob("*.yml"))
    assert f"{len(rules)} rule files found" in done.stdout, done.stdout
