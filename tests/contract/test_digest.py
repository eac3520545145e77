"""The digest changes with every change of the model directory, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from contract import STEP_SOURCES, artifact_digest, sources_digest


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "data").mkdir(parents=True)
    (directory / "MLmodel").write_text("flavors: {}\n")
    (directory / "data" / "weights.bin").write_bytes(b"\x00\x01")
    return directory


def test_same_content_elsewhere_has_the_same_digest(model_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_dir, tmp_path / "elsewhere" / "copy")
    assert artifact_digest(copy) == artifact_digest(model_dir)
    assert len(artifact_digest(model_dir)) == 64


def test_known_value_so_that_registered_digests_stay_valid(model_dir: Path) -> None:
    assert artifact_digest(model_dir) == "e9f1113e34a5ba1243b4a4330c171bdf2d208838dd71af658e8c30279dd07009"


def test_a_changed_byte_a_new_file_a_lost_file_and_a_renamed_file_are_seen(model_dir: Path) -> None:
    digests = [artifact_digest(model_dir)]
    (model_dir / "data" / "weights.bin").write_bytes(b"\x00\x02")
    digests.append(artifact_digest(model_dir))
    (model_dir / "extra").write_text("")
    digests.append(artifact_digest(model_dir))
    (model_dir / "extra").rename(model_dir / "data" / "extra")
    digests.append(artifact_digest(model_dir))
    (model_dir / "MLmodel").unlink()
    digests.append(artifact_digest(model_dir))
    assert len(set(digests)) == len(digests)


def test_content_cannot_move_between_files(model_dir: Path, tmp_path: Path) -> None:
    swapped = shutil.copytree(model_dir, tmp_path / "swapped")
    shutil.copy(model_dir / "MLmodel", swapped / "data" / "weights.bin")
    shutil.copy(model_dir / "data" / "weights.bin", swapped / "MLmodel")
    assert artifact_digest(swapped) != artifact_digest(model_dir)


def test_what_mlflow_adds_after_logging_is_left_out_at_the_root_only(model_dir: Path) -> None:
    before = artifact_digest(model_dir)
    (model_dir / "registered_model_meta").write_text("model_name: m\n")
    assert artifact_digest(model_dir) == before
    (model_dir / "data" / "registered_model_meta").write_text("hidden\n")
    assert artifact_digest(model_dir) != before


def test_an_empty_or_missing_directory_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for directory in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match="no model files"):
            artifact_digest(directory)


def test_each_part_of_a_step_counts_and_what_tools_leave_does_not(tmp_path: Path) -> None:
    digests = [sources_digest(tmp_path)]
    for part in STEP_SOURCES:
        (tmp_path / part / "deep").mkdir(parents=True)
        (tmp_path / part / "deep" / "a").write_text(part)
        digests.append(sources_digest(tmp_path))
    assert len(set(digests)) == len(digests)
    for name in (
        "projects/deep/__pycache__/a.pyc",
        "dbt_project/target/run.json",
        "dbt_project/logs/dbt.log",
        "docs/a",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("left by a tool, or no part of a step")
    assert sources_digest(tmp_path) == digests[-1]
