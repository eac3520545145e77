"""Airbyte's declarations, ``airbyte/{sources,destinations,connections}/*.yaml``, as typed objects.

They keep the shape of Airbyte's own ``octavia`` files. Secrets stand in them as ``${VARIABLE}``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, model_validator

from pipelines.declarations import explain, read_yaml
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project

Name = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)+$")]
Port = Annotated[int, Field(gt=0, lt=65536, strict=False)]
ColumnType = Literal["string", "integer", "number", "boolean", "timestamp", "date"]
Count = Annotated[int, Field(ge=0)]

CURSOR = "_ab_source_file_last_modified"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Section(BaseModel):
    """Base of every part: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class CsvFormat(Section):
    """How the CSV files of a stream are written; the names are source-s3's."""

    filetype: Literal["csv"]
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    quote_char: Annotated[str, StringConstraints(min_length=1, max_length=1)] = '"'
    null_values: list[str] = Field(default_factory=lambda: [""])


class SourceStream(Section):
    """Which objects of the bucket make up a stream."""

    name: Name
    globs: list[str] = Field(min_length=1)
    format: CsvFormat

    @model_validator(mode="after")
    def _globs_stay_in_a_directory(self) -> SourceStream:
        if any("**" in glob for glob in self.globs):
            raise ValueError("`**` is not supported in globs; write the directories out: project/stream/*.csv")
        return self

    def reads(self, key: str) -> bool:
        """Whether the object `key` belongs to this stream; ``*`` does not reach across ``/``."""
        return any(_matches(key, glob) for glob in self.globs)


class S3Configuration(Section):
    """The configuration of the connector source-s3."""

    bucket: str
    endpoint: str
    region_name: str
    aws_access_key_id: SecretStr
    aws_secret_access_key: SecretStr
    streams: list[SourceStream] = Field(min_length=1)


class Source(Section):
    """A file of ``airbyte/sources``."""

    resource_name: Name
    definition_type: Literal["source"]
    definition_image: Literal["airbyte/source-s3"]
    definition_version: Version
    configuration: S3Configuration


class PostgresConfiguration(Section):
    """The configuration of the connector destination-postgres."""

    host: str
    port: Port
    database: str
    username: str
    password: SecretStr
    schema_: Name = Field(alias="schema")


class Destination(Section):
    """A file of ``airbyte/destinations``."""

    resource_name: Name
    definition_type: Literal["destination"]
    definition_image: Literal["airbyte/destination-postgres"]
    definition_version: Version
    configuration: PostgresConfiguration


class WholeMonth(Section):
    """The file ``YYYY-MM.csv`` holds that month, day by day; `year`, `month` and `day` name the columns of the date.

    A day with fewer than `rows_a_day` rows is short; `short_days` of them are accepted.
    """

    year: Name
    month: Name
    day: Name
    rows_a_day: Annotated[int, Field(gt=0)] = 1
    short_days: Count = 0


class Expectations(Section):
    """What a file must hold besides columns, types and unique keys."""

    min_rows: Count = 1
    whole_month: WholeMonth | None = None


class Stream(Section):
    """A stream of a connection: its columns, how rows are recognised, and what its files must hold."""

    name: Name
    sync_mode: Literal["incremental"]
    destination_sync_mode: Literal["append_dedup"]
    cursor_field: Literal["_ab_source_file_last_modified"]
    primary_key: list[Name] = Field(min_length=1)
    columns: dict[Name, ColumnType] = Field(min_length=1)
    required: list[Name] = Field(default_factory=list)
    expectations: Expectations = Expectations()

    @model_validator(mode="after")
    def _names_are_columns(self) -> Stream:
        month = self.expectations.whole_month
        date = [month.year, month.month, month.day] if month else []
        unknown = [name for name in [*self.primary_key, *self.required, *date] if name not in self.columns]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not among the columns ({', '.join(self.columns)})")
        if any(self.columns[name] != "integer" for name in date):
            raise ValueError("the columns of whole_month must be integers")
        return self

    @property
    def mandatory(self) -> list[str]:
        """The columns that may not be empty: the primary key and what is required."""
        return list(dict.fromkeys([*self.primary_key, *self.required]))


class ConnectionFile(Section):
    """A file of ``airbyte/connections``."""

    resource_name: Name
    definition_type: Literal["connection"]
    source: Name
    destination: Name
    schedule: Literal["manual"] = "manual"
    streams: list[Stream] = Field(min_length=1)


@dataclass(frozen=True)
class Connection:
    """A connection with its source and its destination; every stream of it is one of the source's."""

    name: str
    streams: list[Stream]
    source: Source
    destination: Destination

    @property
    def schema(self) -> str:
        """The schema of the warehouse that the streams land in."""
        return self.destination.configuration.schema_

    def source_stream(self, stream: Stream) -> SourceStream:
        """Where the files of `stream` are."""
        return next(item for item in self.source.configuration.streams if item.name == stream.name)


def variables(env: Environment, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of the step, and WAREHOUSE_URL in parts: WAREHOUSE_HOST, _PORT, _USER, _PASSWORD, _DATABASE."""
    parts = urlsplit(env.warehouse_url)
    return {
        **(os.environ if environ is None else environ),
        "AWS_DEFAULT_REGION": env.aws_region,
        "WAREHOUSE_HOST": parts.hostname or "",
        "WAREHOUSE_PORT": str(parts.port or 5432),
        "WAREHOUSE_USER": unquote(parts.username or ""),
        "WAREHOUSE_PASSWORD": unquote(parts.password or ""),
        "WAREHOUSE_DATABASE": parts.path.lstrip("/"),
    }


def project_connections(env: Environment, project: Project) -> list[Connection]:
    """The connections that ``project.yaml`` names, read and checked."""
    values = variables(env)
    return [load_connection(env.repo, name, values) for name in project.data.connections]


def load_connection(repo: Path, name: str, values: Mapping[str, str]) -> Connection:
    """Read ``airbyte/connections/<name>.yaml`` and what it refers to; StepError with file, key and what is allowed."""
    file = _load(repo, "connections", name, ConnectionFile, values)
    source = _load(repo, "sources", file.source, Source, values)
    destination = _load(repo, "destinations", file.destination, Destination, values)
    known = [stream.name for stream in source.configuration.streams]
    unknown = [stream.name for stream in file.streams if stream.name not in known]
    if unknown:
        raise StepError(
            f"streams: the source {file.source!r} has no {', '.join(unknown)}; allowed: {', '.join(known)}",
            where=f"airbyte/connections/{name}.yaml",
            do=f"declare the stream in airbyte/sources/{file.source}.yaml, or correct the name",
        )
    return Connection(name=name, streams=file.streams, source=source, destination=destination)


Model = TypeVar("Model", ConnectionFile, Source, Destination)


def _load(repo: Path, kind: str, name: str, model: type[Model], values: Mapping[str, str]) -> Model:
    where = f"airbyte/{kind}/{name}.yaml"
    path = repo / where
    if not path.is_file():
        known = ", ".join(sorted(item.stem for item in path.parent.glob("*.yaml"))) or "none yet"
        raise StepError(
            f"no such file: the declaration {name!r}", where=where, do=f"declared in airbyte/{kind}: {known}"
        )
    content = _filled(read_yaml(path), values, where)
    try:
        declaration = model.model_validate(content)
    except ValidationError as error:
        raise explain(error, model, where) from None
    if declaration.resource_name != name:
        raise StepError(
            f"resource_name: it is {declaration.resource_name!r}; allowed: {name!r}, the name of the file",
            where=where,
            do="make the two the same",
        )
    return declaration


def _filled(content: Any, values: Mapping[str, str], where: str, key: str = "") -> Any:
    """`content` with every ``${VARIABLE}`` replaced; a variable that is not set is named with its key."""
    if isinstance(content, dict):
        return {name: _filled(item, values, where, f"{key}.{name}".lstrip(".")) for name, item in content.items()}
    if isinstance(content, list):
        return [_filled(item, values, where, f"{key}.{index}") for index, item in enumerate(content)]
    if not isinstance(content, str):
        return content
    missing = [name for name in _VARIABLE.findall(content) if not values.get(name)]
    if missing:
        raise StepError(
            f"{key}: the variable {missing[0]} is not set",
            where=where,
            do="set it in the environment of the step (compose/pipelines/step.env)",
        )
    return _VARIABLE.sub(lambda found: values[found.group(1)], content)


def _matches(key: str, glob: str) -> bool:
    parts, patterns = key.split("/"), glob.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
