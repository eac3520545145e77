"""Step ``inspect``: check every new file of the landing bucket before anything is loaded."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.connections import Connection, project_connections
from pipelines.ingestion.csv_check import Checked, Problem, check_file
from pipelines.ingestion.ledger import LandingFile, accept, entries, landing_files
from pipelines.objects import client, s3_errors
from pipelines.progress import say
from pipelines.project import Project
from pipelines.warehouse import connect

# source-s3 takes keys as patterns, so these cannot be told from wildcards.
_PATTERN_MARKS = set("*?[]{}!|\\")
_SHOWN_FILES = 5


def run(env: Environment, project: Project) -> dict[str, Any]:
    """Check all files that are not accepted as they are now; all of them are accepted, or none.

    Returns ``{"accepted": [keys], "rows": n, "known": files accepted before}``. A bad file is a StepError that names
    file, line and reason; nothing in the warehouse has changed then.
    """
    s3 = client(env)
    accepted: list[str] = []
    rows = known = 0
    bad: list[str] = []
    outcome: list[tuple[Connection, list[tuple[LandingFile, int]]]] = []
    with connect(env) as database:
        for connection in project_connections(env, project):
            ledger = entries(database, connection)
            files = landing_files(s3, connection)
            new = [file for file in files if file.key not in ledger or ledger[file.key].etag != file.etag]
            known += len(files) - len(new)
            good: list[tuple[LandingFile, int]] = []
            for file in new:
                checked = check_landed(s3, connection, file)
                address = f"s3://{connection.source.configuration.bucket}/{file.key}"
                bad += [f"{address}: {problem}" for problem in checked.problems]
                if not checked.problems:
                    good.append((file, checked.rows))
                    rows += checked.rows
                    say(f"  {address}: {checked.rows} rows, good")
            outcome.append((connection, good))
        if bad:
            raise _refusal(bad)
        for connection, good in outcome:
            if good:
                accept(database, connection, good)
                accepted += [file.key for file, _ in good]
    return {"accepted": accepted, "rows": rows, "known": known}


def check_landed(s3: Any, connection: Connection, file: LandingFile) -> Checked:
    """Fetch the file to a scratch directory and check it against its stream; nothing is recorded."""
    if _PATTERN_MARKS & set(file.key):
        return Checked(0, [Problem("its name holds one of * ? [ ] { } ! | \\: rename it")])
    stream = next(item for item in connection.streams if item.name == file.stream)
    bucket = connection.source.configuration.bucket
    with tempfile.TemporaryDirectory(prefix="inspect-") as scratch, s3_errors(f"s3://{bucket}/{file.key}"):
        path = Path(scratch) / "file.csv"
        answer = s3.get_object(Bucket=bucket, Key=file.key, IfMatch=f'"{file.etag}"')
        with path.open("wb") as target:
            shutil.copyfileobj(answer["Body"], target, 1 << 20)
        announced = answer.get("Metadata", {}).get("rows", "")
        form = connection.source_stream(stream).format
        name = PurePosixPath(file.key).name
        return check_file(path, stream, form, name, int(announced) if announced.isdigit() else None)


def _refusal(bad: list[str]) -> StepError:
    more = f"\n  … and {len(bad) - _SHOWN_FILES} more" if len(bad) > _SHOWN_FILES else ""
    first, *rest = bad[:_SHOWN_FILES]
    what = first if not rest else "refused\n" + "\n".join(f"  {line}" for line in [first, *rest])
    return StepError(
        f"{what}{more}\n  nothing was loaded: the raw tables are as they were",
        where="" if not rest else f"{len(bad)} problems in the landing bucket",
        do="have the sender put a whole, correct file in its place, or remove it from the bucket; then start again",
    )
