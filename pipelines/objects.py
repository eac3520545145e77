"""The object store (S3): one client, and its failures as messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.environment import Environment
from pipelines.errors import StepError

MISSING_CODES = {"404", "NoSuchKey", "NotFound"}


def client(env: Environment) -> Any:
    """An S3 client of the platform's object store."""
    return boto3.client(
        "s3",
        endpoint_url=env.s3_endpoint_url,
        aws_access_key_id=env.aws_access_key_id,
        aws_secret_access_key=env.aws_secret_access_key,
        region_name=env.aws_region,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )


@contextmanager
def s3_errors(where: str) -> Iterator[None]:
    """Turn a failure of the object store inside the block into a StepError about `where` (bucket or URI)."""
    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        code, text = answer.get("Code", "?"), answer.get("Message", "")
        do = "check the name" if code in {*MISSING_CODES, "NoSuchBucket"} else "check the S3 keys in the environment"
        raise StepError(f"the object store refused: {code} {text}".rstrip(), where=where, do=do) from error
    except BotoCoreError as error:
        raise StepError(
            f"the object store cannot be reached: {error}", where=where, do="is it up? `platform status` tells"
        ) from error


def exists(s3: Any, bucket: str, key: str) -> bool:
    """Whether the object is there."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in MISSING_CODES:
            return False
        raise
    return True


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/key`` as (bucket, key)."""
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    if parts.scheme != "s3" or not parts.netloc or not key:
        raise StepError(f"not an object's address: {uri!r}", do="give it as s3://bucket/key")
    return parts.netloc, key
