from __future__ import annotations

from pathlib import Path


class FakeDocker:
    """A `docker` on the PATH that answers by a script of sh; what it was called with is kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls_file = directory / "calls"
        self.answers: list[str] = []
        self.answer("version", "echo 20.10.24+dfsg1")
        self.answer("compose version", "echo v2.40.3")

    def answer(self, begins: str, script: str) -> None:
        """Answer a call that begins with these words by running `script`; the latest answer to some words counts."""
        self.answers.insert(0, f'"{begins}"*) {script} ;;')
        program = self.directory / "docker"
        program.write_text(
            f'#!/bin/sh\necho "$*" >>{self.calls_file}\ncase "$*" in\n'
            + "\n".join(self.answers)
            + '\n*) echo "unexpected: $*" >&2; exit 99 ;;\nesac\n'
        )
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()
