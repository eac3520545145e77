"""Bodies of inference requests for the classifier of `conftest.py`."""

from typing import Any

INFER = "/v2/models/m/infer"
COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "carrier": ("BYTES", ["UA", "B6"]),
    "hour": ("INT64", [5, 6]),
    "temp": ("FP64", [None, 20.5]),
    "distance": ("FP32", [700.0, 10.0]),
}


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None, **parameters: Any) -> Any:
    extra = {"parameters": parameters} if parameters else {}
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data} | extra


def body(*changed: Any, **more: Any) -> dict[str, Any]:
    """A request with a tensor a column; `changed` stand in for those of their names."""
    inputs = {name: tensor(name, *column) for name, column in COLUMNS.items()}
    inputs |= {one["name"]: one for one in changed}
    return {"inputs": list(inputs.values())} | more
