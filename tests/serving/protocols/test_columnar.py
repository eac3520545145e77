"""Arrow and Parquet bodies as columns of Python values."""

import io
import random
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.errors import RequestError
from serving.models.signature import Field, Signature
from serving.protocols.columnar import reading, unpacked
from serving.protocols.columnar.reading import CHUNK_ROWS, CHUNK_VALUES, Body, Format
from serving.protocols.columnar.types import check_schema

MOMENT = datetime(2013, 7, 1, 5, 15)
MakeBody = Callable[..., Body]


def encode(table: pa.Table, form: Format = Format.STREAM, **options: Any) -> bytes:
    """Write a table; `options` are those of a Parquet file, or `compression` and `max_chunksize` of an Arrow one."""
    sink = io.BytesIO()
    if form is Format.PARQUET:
        pq.write_table(table, sink, **options)
        return sink.getvalue()
    ipc = pa.ipc.IpcWriteOptions(compression=options.get("compression"))
    make = pa.ipc.new_stream if form is Format.STREAM else pa.ipc.new_file
    with make(sink, table.schema, options=ipc) as writer:
        writer.write_table(table, options.get("max_chunksize"))
    return sink.getvalue()


@pytest.fixture
def make_body(tmp_path: Any) -> Iterator[MakeBody]:
    files = []

    def make(content: bytes | pa.Table, form: Format = Format.STREAM, **options: Any) -> Body:
        data = content if isinstance(content, bytes) else encode(content, form, **options)
        path = tmp_path / f"body-{len(files)}"
        path.write_bytes(data)
        files.append(path.open("rb"))
        return Body(form, files[-1])

    yield make
    for file in files:
        file.close()


def column(body: Body, name: str = "x") -> list[Any]:
    return columns(body, name)[0]


def columns(body: Body, *names: str) -> list[list[Any]]:
    """The values of columns, from the one reading of a body."""
    found: list[list[Any]] = [[] for _ in names]
    for chunk in body.chunks():
        for values, name in zip(found, names, strict=True):
            values.extend(chunk.columns[name])
    return found


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize(
    ("kind", "array", "expected"),
    [
        ("double", pa.array([1.5, None, float("inf")]), [1.5, None, float("inf")]),
        ("double", pa.array([1, None], pa.uint8()), [1, None]),
        ("double", pa.array([Decimal("1.50"), None]), [1.5, None]),
        ("double", pa.array([1.5, None], pa.float16()), [1.5, None]),
        ("double", pa.nulls(2), [None, None]),
        ("float", pa.array([1.5, None], pa.float32()), [1.5, None]),
        ("long", pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
        ("integer", pa.array([3.0, None]), [3.0, None]),
        ("boolean", pa.array([True, None, False]), [True, None, False]),
        ("string", pa.array(["a", None, "ö"]), ["a", None, "ö"]),
        ("string", pa.array(["a", None], pa.large_string()), ["a", None]),
        ("string", pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        ("datetime", pa.array([MOMENT, None], pa.timestamp("s")), [MOMENT, None]),
        ("datetime", pa.array([MOMENT, None], pa.timestamp("ns")), [MOMENT, None]),
        ("datetime", pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("us", "America/New_York")), [MOMENT]),
        ("datetime", pa.array([date(2013, 7, 1), None]), [datetime(2013, 7, 1), None]),
        ("datetime", pa.array(["2013-07-01T05:15:00"]), ["2013-07-01T05:15:00"]),
    ],
)
def test_types_that_fit_become_python_values(
    make_body: MakeBody, form: Format, kind: str, array: pa.Array, expected: list[Any]
) -> None:
    body = make_body(pa.table({"x": array}), form)
    check_schema(body.schema, Signature([Field("x", kind, required=False)]), None)
    given = column(body)
    assert given == expected
    assert list(map(type, given)) == list(map(type, expected))


@pytest.mark.parametrize("indices", [None, [1, 0, 2, 2]])
def test_views_of_text_are_taken(make_body: MakeBody, indices: list[int] | None) -> None:
    views = pa.array(["a", None, "longer than what a view holds"], pa.string_view())
    array = views if indices is None else pa.DictionaryArray.from_arrays(pa.array(indices), views)
    body = make_body(pa.table({"x": array}))
    check_schema(body.schema, Signature([Field("x", "string", required=False)]), None)
    assert column(body) == array.to_pylist()


@pytest.mark.parametrize(
    ("kind", "array", "told"),
    [
        (
            "double",
            pa.array(["1.5"]),
            "'x': expected a column for 'double': a float, an integer or a decimal, got string",
        ),
        (
            "long",
            pa.array([Decimal("1.5")]),
            "for 'long': an integer, or a float of whole numbers, got decimal128(2, 1)",
        ),
        ("boolean", pa.array([1]), "for 'boolean': bool, got int64"),
        ("string", pa.array([b"a"]), "for 'string': a string, got binary"),
        ("string", pa.array([1]).dictionary_encode(), "got dictionary<values=int64, indices=int32, ordered=0>"),
        ("datetime", pa.array([1]), "for 'datetime': a timestamp, a date or a string of ISO 8601, got int64"),
        ("double", pa.array([[1.0]]), "for 'double': a float, an integer or a decimal, got list<item: double>"),
    ],
)
def test_a_wrong_type_is_told_by_column_and_both_types(kind: str, array: pa.Array, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_schema(pa.table({"x": array}).schema, Signature([Field("x", kind, required=True)]), None)
    assert caught.value.status == 422
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("names", "key", "told"),
    [
        (["x", "z"], None, "field 'z': expected only known columns (x, y), got an unknown column"),
        (["y"], None, "field 'x': expected a finite number, got nothing: the column is missing"),
        (["x", "x"], None, "field 'x': expected each column once, got two columns of this name"),
        (["x", "id"], "id", "field 'id': expected a column of strings or integers, got double"),
    ],
)
def test_the_set_of_columns_is_checked(names: list[str], key: str | None, told: str) -> None:
    schema = pa.schema([pa.field(name, pa.float64()) for name in names])
    signature = Signature([Field("x", "double", required=True), Field("y", "double", required=False)])
    with pytest.raises(RequestError) as caught:
        check_schema(schema, signature, key)
    assert told in caught.value.message


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("rows_in_a_batch", [7, 1000, 100_000])
def test_chunks_are_of_bounded_size_whatever_the_batches_are(
    make_body: MakeBody, form: Format, rows_in_a_batch: int
) -> None:
    numbers = range(30_000)
    table = pa.table({"x": numbers, "s": pa.array([f"s{i % 10}" for i in numbers]).dictionary_encode()})
    name = "row_group_size" if form is Format.PARQUET else "max_chunksize"
    body = make_body(table, form, **{name: rows_in_a_batch})
    counts = [chunk.count for chunk in body.chunks()]
    assert max(counts) <= CHUNK_ROWS
    assert sorted(counts)[1] > CHUNK_ROWS // 2, "small batches are scored together"
    for _ in range(2):
        x, s = columns(body, "x", "s")
        assert x == list(numbers)
        assert s == [f"s{i % 10}" for i in numbers]


def test_a_wide_table_comes_in_smaller_chunks(make_body: MakeBody) -> None:
    body = make_body(pa.table({f"x{i}": range(2000) for i in range(100)}))
    assert max(chunk.count for chunk in body.chunks()) == CHUNK_VALUES // 100


@pytest.mark.parametrize("form", Format)
def test_text_that_the_file_holds_once_is_not_unpacked_all_at_a_time(make_body: MakeBody, form: Format) -> None:
    long = "x" * (1 << 20)
    indices = pa.array([0] * 1000, pa.int32())
    body = make_body(pa.table({"x": pa.DictionaryArray.from_arrays(indices, [long])}), form)
    counts = [chunk.count for chunk in body.chunks()]
    assert sum(counts) == 1000
    assert max(counts) <= 16


def test_views_over_the_same_text_are_counted_in_full(make_body: MakeBody) -> None:
    view = struct.pack("<i4sii", 1 << 20, b"yyyy", 0, 0)
    buffers = [None, pa.py_buffer(view * 100), pa.py_buffer(b"y" * (1 << 20))]
    body = make_body(pa.table({"x": pa.Array.from_buffers(pa.string_view(), 100, buffers)}))
    counts = [chunk.count for chunk in body.chunks()]
    assert sum(counts) == 100
    assert max(counts) <= 16


def test_one_row_of_too_much_text_is_refused_by_its_number(make_body: MakeBody) -> None:
    body = make_body(pa.table({"x": ["a"] * 100 + ["b" * (reading.MAX_TEXT_BYTES + 1), "c"]}))
    with pytest.raises(RequestError) as caught:
        column(body)
    assert (caught.value.status, caught.value.message.partition(":")[0]) == (413, "row 100")


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("form", [Format.STREAM, Format.FILE])
def test_compressed_batches_are_unpacked_up_to_a_limit(make_body: MakeBody, compression: str, form: Format) -> None:
    rows = unpacked.MAX_UNPACKED_BYTES // 8 + 1
    table = pa.table({"x": pa.repeat(pa.scalar(0.5), rows)})
    with pytest.raises(RequestError) as caught:
        make_body(table, form, compression=compression)
    assert caught.value.status == 413
    assert f"unpacks to {rows * 8} bytes" in caught.value.message
    assert make_body(table, form).schema.names == ["x"], "what is not compressed is read in place"
    small = make_body(table.slice(0, 1000), form, compression=compression)
    assert column(small) == [0.5] * 1000


def test_a_compressed_dictionary_is_held_to_the_same_limit(make_body: MakeBody) -> None:
    text = pa.array(["z" * (unpacked.MAX_UNPACKED_BYTES + 1)])
    with pytest.raises(RequestError, match="unpacks to"):
        make_body(pa.table({"x": text.dictionary_encode()}), compression="zstd")


def test_a_large_row_group_is_refused(make_body: MakeBody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_GROUP_BYTES", 10_000)
    table = pa.table({"x": [float(i) for i in range(5000)]})
    assert len(column(make_body(table, Format.PARQUET, row_group_size=500))) == 5000
    with pytest.raises(RequestError, match="row group 0 of the Parquet file unpacks to"):
        make_body(table, Format.PARQUET)


def sample_table() -> pa.Table:
    return pa.table(
        {
            "x": pa.array([float(i) for i in range(40)]),
            "s": pa.array([None if i % 3 else f"text {i}" for i in range(40)]),
            "d": pa.array([f"d{i % 4}" for i in range(40)]).dictionary_encode(),
            "v": pa.array([f"large {i}" for i in range(40)], pa.large_string()),
            "t": pa.array([MOMENT] * 40, pa.timestamp("us")),
        }
    )


def outcome(make_body: MakeBody, content: bytes, form: Format) -> int | None:
    """Return the status that a body is refused with, None if it is read."""
    try:
        for _ in make_body(content, form).chunks():
            pass
    except RequestError as error:
        return error.status
    return None


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("form", Format)
def test_a_body_that_was_cut_off_is_refused(make_body: MakeBody, form: Format, compression: str | None) -> None:
    options = {"compression": compression or "none"} if form is Format.PARQUET else {"compression": compression}
    whole = encode(sample_table(), form, **options)
    assert outcome(make_body, whole, form) is None
    lengths = range(1, len(whole), 23)
    assert {outcome(make_body, whole[:length], form) for length in [*lengths, len(whole) - 8]} == {400}


@pytest.mark.parametrize("form", Format)
def test_a_damaged_body_is_read_or_refused_and_nothing_else(make_body: MakeBody, form: Format) -> None:
    whole = encode(sample_table(), form)
    chance = random.Random(7)  # noqa: S311 - no secret
    seen = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        seen.add(outcome(make_body, bytes(damaged), form))
    assert 400 in seen
    assert seen <= {None, 400, 413}


@pytest.mark.parametrize(
    "content", [b"\0", b"{}", b"PAR1", b"ARROW1\0\0", b"PAR1" * 10, b"ARROW1\0\0ARROW1", b"\xff" * 64]
)
@pytest.mark.parametrize("form", Format)
def test_what_is_something_else_is_refused(make_body: MakeBody, form: Format, content: bytes) -> None:
    assert outcome(make_body, content, form) == 400
