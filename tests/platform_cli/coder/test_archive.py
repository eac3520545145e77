from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from platform_cli.coder.archive import MAX_BYTES, digest_of, pack
from platform_cli.coder.provision import TEMPLATE, TEMPLATES
from platform_cli.errors import PlatformError


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TEMPLATES / TEMPLATE, tmp_path / "copy"))


def test_the_same_files_are_the_same_bytes(template: Path) -> None:
    first = pack(template)
    os.utime(template / "main.tf", (0, 0))
    (template / "startup.sh").chmod(0o700)
    (template / ".terraform").mkdir()
    (template / ".terraform" / "provider").write_text("large")
    (template / "terraform.tfstate").write_text("{}")
    assert pack(template) == first == pack(TEMPLATES / TEMPLATE)


def test_it_is_a_ustar_with_the_files_of_the_template(template: Path) -> None:
    packed = pack(template)
    assert packed[257:263] == b"ustar\0"
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["README.md", "main.tf", "parameters.tf", "startup.sh", "variables.tf"]
        assert {(entry.uid, entry.mtime, entry.mode) for entry in tar} == {(0, 0, 0o644)}


def test_the_digest_follows_files_and_values(template: Path) -> None:
    before = digest_of(pack(template), {"gpu": "false"})
    assert digest_of(pack(template), {"gpu": "true"}) != before
    (template / "main.tf").write_text("")
    assert digest_of(pack(template), {"gpu": "false"}) != before


def test_what_is_no_template_is_refused(template: Path, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no main\.tf"):
        pack(tmp_path)
    (template / "data.csv").write_bytes(b"x" * MAX_BYTES)
    with pytest.raises(PlatformError, match="more than the 1048576"):
        pack(template)
