"""What is wrong with the rows of a request, collected so that one answer tells as much as is useful."""

from typing import Any

from serving.errors import RequestError, describe_finding

MAX_DETAILS = 20


def finding(row: int | None, field: str | None, expected: str, got: str) -> dict[str, Any]:
    """Return one entry of a refusal's details; `row` is None for what is wrong with a column as a whole."""
    safe = None if field is None else field.encode("utf-8", "backslashreplace").decode()
    return {"row": row, "field": safe, "expected": expected, "got": got}


def refusal(findings: list[dict[str, Any]]) -> RequestError:
    """Return the 422 whose message tells the first of `findings`, and whose details the first `MAX_DETAILS`."""
    findings.sort(key=lambda one: -1 if one["row"] is None else one["row"])
    shown = findings[:MAX_DETAILS]
    more = f" ({len(shown) - 1} more in details)" if len(shown) > 1 else ""
    return RequestError(422, describe_finding(shown[0]) + more, shown)
