"""Edge lists, series and features in files: what is wrong is named, and nothing is left behind."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from roma_pyg.cli.data import main
from roma_pyg.data.files import read_files
from tests.bad_input.conftest import NODES, SAMPLES
from tests.bad_input.harness import (
    Touch,
    assert_clear,
    assert_clear_text,
    attempt,
    call,
    evil_pickle,
    files,
    npy,
    npy_header,
    npz,
)

HUGE = 10**15
Write = Callable[[Path], object]


def text(content: str | bytes) -> Write:
    """A file of that content."""
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda path: path.write_bytes(raw)


def array(make: Callable[[], np.ndarray]) -> Write:
    """A .npy file of an array."""
    return lambda path: np.save(path, make(), allow_pickle=True)


def waves() -> np.ndarray:
    phase = 0.35 * np.arange(SAMPLES) - 0.4 * np.arange(NODES)[:, None]
    return ((1.05 + np.cos(phase)) / 2.1).astype(np.float32)


def spoilt(value: object, dtype: str = "f8") -> Callable[[], np.ndarray]:
    """Waves with one other value."""

    def make() -> np.ndarray:
        values = waves().astype(dtype)
        values[3, 7] = value
        return values

    return make


def frame(**columns: Any) -> Write:
    """A parquet file of these columns."""
    return lambda path: pq.write_table(pa.table(columns), path)


def pandas_metadata(**index: object) -> Write:
    """A parquet file whose pandas index says something."""

    def write(path: Path) -> None:
        table = pa.table({str(i): column for i, column in enumerate(waves().T)})
        content = json.dumps({"index_columns": [{"kind": "range", **index}]})
        pq.write_table(table.replace_schema_metadata({"pandas": content}), path)

    return write


def columns(kind: Any) -> dict[str, Any]:
    return {str(i): pa.array(column, kind) for i, column in enumerate(waves().T)}


def lying_footer(path: Path) -> None:
    """A parquet file with other numbers of rows than there are."""
    pq.write_table(pa.table({str(i): column for i, column in enumerate(waves().T)}), path)
    raw = path.read_bytes()
    # 40 rows as a zigzag varint, in the last part of the file.
    footer = raw[-8 - int.from_bytes(raw[-8:-4], "little") :]
    path.write_bytes(raw[: -len(footer)] + footer.replace(b"\x16\x50", b"\x16\x7e"))


def parquet_bomb(path: Path) -> None:
    """Two billion equal values in some kilobytes."""
    piece = pa.table({"a": pa.array(np.zeros(1 << 20)), "b": pa.array(np.zeros(1 << 20))})
    with pq.ParquetWriter(path, piece.schema) as writer:
        writer.write_table(piece, row_group_size=1 << 20)
        one = path.stat().st_size
    assert one < 1 << 20
    with pq.ParquetWriter(path, piece.schema, compression="zstd") as writer:
        for _ in range(100):
            writer.write_table(piece, row_group_size=1 << 20)


def evil(path: Path) -> None:
    """An array of one object that makes a file where it is unpickled."""
    np.save(path, np.array([[Touch(path.with_name("canary"))]], dtype=object), allow_pickle=True)


def evil_npz(path: Path) -> None:
    index = np.array([[Touch(path.with_name("canary"))]], dtype=object)
    stream = io.BytesIO()
    np.save(stream, index, allow_pickle=True)
    npz(path, edge_index=stream.getvalue())


def evil_zarr(version: int, how: str) -> Write:
    """A zarr array whose chunk is a pickle."""

    def write(path: Path) -> None:
        payload = evil_pickle(path.with_name("canary"))
        if version == 2:
            filters = [{"id": "pickle"}] if how == "filter" else None
            meta = {
                "zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "order": "C",
                "dtype": "|O" if how == "object" else "<f4", "fill_value": 0,
                "compressor": {"id": "pickle"} if how != "filter" else None, "filters": filters,
            }  # fmt: skip
            path.mkdir()
            (path / ".zarray").write_text(json.dumps(meta))
            (path / "0.0").write_bytes(payload)
        else:
            codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
            codecs.append({"name": "numcodecs.pickle", "configuration": {}})
            if how == "shard":
                inner = {"chunk_shape": [2, 2], "codecs": codecs, "index_codecs": codecs[:1]}
                codecs = [{"name": "sharding_indexed", "configuration": inner}]
            write_zarr(path, codecs=codecs)
            (path / "c/0").mkdir(parents=True)
            (path / "c/0/0").write_bytes(payload)

    return write


def write_zarr(path: Path, **changes: object) -> None:
    """Metadata of a zarr array, version 3."""
    path.mkdir()
    meta = {
        "zarr_format": 3, "node_type": "array", "shape": [2, 2], "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
    } | changes  # fmt: skip
    (path / "zarr.json").write_text(json.dumps(meta))


def zarr_grid(rows: int, columns: int) -> dict[str, object]:
    return {"name": "regular", "configuration": {"chunk_shape": [rows, columns]}}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def fifo_zarr(path: Path) -> None:
    write_zarr(path)
    (path / "c/0").mkdir(parents=True)
    os.mkfifo(path / "c/0/0")


def loop(path: Path) -> None:
    path.symlink_to(path.with_name(f"b-{path.name}"))
    path.with_name(f"b-{path.name}").symlink_to(path)


def bomb(path: Path, method: int = zipfile.ZIP_DEFLATED, size: int = 9 << 27) -> None:
    """Zeros in a small archive, with a header that is honest about them."""
    header = npy((2, size // 16), "'<i8'")
    with (
        zipfile.ZipFile(path, "w", method) as archive,
        archive.open("edge_index.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(header)
        piece = bytes(1 << 22)
        for _ in range(size // len(piece)):
            stream.write(piece)


def small_bomb(path: Path) -> None:
    """A bomb whose entry says that it is small, in the directory and in front of it."""
    bomb(path, zipfile.ZIP_LZMA, 1 << 27)
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        honest = archive.infolist()[0].file_size.to_bytes(4, "little")
    assert honest in raw
    path.write_bytes(raw.replace(honest, (1 << 20).to_bytes(4, "little")))


def saved(matrix: Any) -> Write:
    return lambda path: sp.save_npz(path, matrix)


def csr(indptr: list[int], indices: list[int], shape: tuple[int, ...] = (NODES, NODES)) -> Write:
    """A saved matrix of which nothing needs to be right."""

    def write(path: Path) -> None:
        np.savez(
            path, format=np.array(b"csr"), shape=np.array(shape),
            data=np.ones(len(indices)), indices=np.array(indices, dtype=np.int64),
            indptr=np.array(indptr, dtype=np.int64),
        )  # fmt: skip

    return write


def arrays(**content: Any) -> Write:
    return lambda path: np.savez(path, **content)


RING = np.stack([np.arange(NODES), np.roll(np.arange(NODES), 1)])
LINES = "".join(f"{a},{b}\n" for a, b in RING.T.tolist())
CELLS = "\n".join(",".join(map(str, row)) for row in waves().tolist()) + "\n"

# Name of the file, how it is written, and a word of the message; None: it works.
SERIES: dict[str, tuple[str, Write, str | None]] = {
    # .npy
    "npy float64": ("s.npy", array(lambda: waves().astype("f8")), None),
    "npy float16": ("s.npy", array(lambda: waves().astype("f2")), None),
    "npy integers": ("s.npy", array(lambda: (100 * waves()).astype("i4")), None),
    "npy truth": ("s.npy", array(lambda: waves() > 0.5), None),
    "npy unsigned": ("s.npy", array(lambda: (100 * waves()).astype("u1")), None),
    "npy fortran": ("s.npy", array(lambda: np.asfortranarray(waves())), None),
    "npy big endian": ("s.npy", array(lambda: waves().astype(">f4")), None),
    "npy long double": ("s.npy", array(lambda: waves().astype("g")), None),
    "npy constant": ("s.npy", array(lambda: np.full((NODES, SAMPLES), 3.0)), None),
    "npy zero": ("s.npy", array(lambda: np.zeros((NODES, SAMPLES))), None),
    "npy negative": ("s.npy", array(lambda: -waves()), None),
    "npy denormal": ("s.npy", array(lambda: waves() * 1e-310), None),
    "npy huge values": ("s.npy", array(lambda: waves().astype("f8") * 1e300), None),
    "npy trailing bytes": ("s.npy", text(npy((NODES, 1), data=bytes(4 * NODES + 9))), None),
    "npy one sample": ("s.npy", array(lambda: waves()[:, :1]), None),
    "npy range beyond floats": ("s.npy", array(spoilt(-1.7e308)), None),
    "npy range of both ends": (
        "s.npy", array(lambda: np.array([[1.7e308, -1.7e308]] * NODES)), "range"),
    "npy complex": ("s.npy", array(lambda: waves().astype("c8")), "complex64"),
    "npy text": ("s.npy", array(lambda: waves().astype("U8")), "<U8"),
    "npy bytes": ("s.npy", array(lambda: waves().astype("S8")), "|S8"),
    "npy dates": ("s.npy", array(lambda: np.zeros((NODES, 2), "M8[s]")), "datetime64"),
    "npy records": ("s.npy", array(lambda: np.zeros((NODES, 2), [("a", "f4")])), "Expected real"),
    "npy objects": ("s.npy", array(lambda: waves().astype(object)), "Object arrays are refused"),
    "npy code": ("s.npy", evil, "Object arrays are refused"),
    "npy one dimension": ("s.npy", array(lambda: waves()[0]), "(N, T)"),
    "npy three dimensions": ("s.npy", array(lambda: waves()[None]), "(N, T)"),
    "npy no dimension": ("s.npy", array(lambda: np.array(1.0)), "(N, T)"),
    "npy no nodes": ("s.npy", array(lambda: waves()[:0]), "(N, T)"),
    "npy no samples": ("s.npy", array(lambda: waves()[:, :0]), "(N, T)"),
    "npy nan": ("s.npy", array(spoilt(np.nan)), "row 3 (node), column 7"),
    "npy infinite": ("s.npy", array(spoilt(np.inf)), "row 3 (node), column 7"),
    "npy other number of nodes": ("s.npy", array(lambda: waves()[:5]), "node id in [0, 5)"),
    "npy empty file": ("s.npy", text(""), "plain .npy array"),
    "npy random": ("s.npy", text(bytes(range(256))), "plain .npy array"),
    "npy pickle": ("s.npy", lambda path: path.write_bytes(evil_pickle(path.with_name("canary"))),
                   "plain .npy array"),
    "npy archive": ("s.npy", lambda path: npz(path, a=npy((2, 2), data=bytes(16))), "plain .npy"),
    "npy truncated": ("s.npy", text(npy((NODES, 9), data=bytes(100))), "the header says"),
    "npy truncated header": ("s.npy", text(npy((NODES, 9))[:30]), "plain .npy array"),
    "npy absurd": ("s.npy", text(npy((HUGE, 9), data=bytes(100))), "the header says"),
    "npy overflow": ("s.npy", text(npy((2**32, 2**32), data=bytes(100))), "the header says"),
    "npy very absurd": ("s.npy", text(npy((10**30, 9), data=bytes(100))), "the header says"),
    "npy negative shape": ("s.npy", text(npy((-1, 9), data=bytes(100))), "the header says"),
    "npy two negative": ("s.npy", text(npy((-5, -5), data=bytes(100))), "the header says"),
    "npy shape of text": ("s.npy", text(npy("('a', 2)")), "plain .npy array"),
    "npy shape of truth": ("s.npy", text(npy("(True, 2)", data=bytes(8))), ".npy array"),
    "npy huge items": ("s.npy", text(npy((2, 2), f"'|V{10**12}'", bytes(9))), ".npy array"),
    "npy code in the header": ("s.npy", text(npy("__import__('os').system('true')")), ".npy array"),
    "npy deep header": ("s.npy", text(npy_header("(" * 5000)), "plain .npy array"),
    "npy long header": ("s.npy", text(npy_header("{'a': 1}" + " " * 60_000)), ".npy array"),
    "npy header of nothing": ("s.npy", text(npy_header("{}")), "plain .npy array"),
    "npy header of python 2": ("s.npy", text(npy_header("{'shape': (2L, 2L), ")), ".npy array"),
    "npy header of a nul": ("s.npy", text(npy_header("{'shape': \0}")), "plain .npy array"),
    "npy next version": ("s.npy", text(npy_header("{}", version=9)), "version"),
    # paths
    "missing": ("s.npy", lambda path: None, "there is none"),
    "folder": ("s.npy", lambda path: path.mkdir(), "there is none"),
    "pipe": ("s.npy", fifo, "there is none"),
    "pipe of text": ("s.csv", fifo, "there is none"),
    "loop of links": ("s.npy", loop, "there is none"),
    "link to nothing": ("s.npy", lambda path: path.symlink_to("nowhere"), "there is none"),
    "other suffix": ("s.txt", text("1 2 3"), "'.txt'"),
    "no suffix": ("s", text("1 2 3"), "''"),
    # .csv
    "csv": ("s.csv", text(CELLS), None),
    "csv byte order mark": ("s.csv", text(b"\xef\xbb\xbf" + CELLS.encode()), None),
    "csv crlf": ("s.csv", text(CELLS.replace("\n", "\r\n")), None),
    "csv semicolon": ("s.csv", text(CELLS.replace(",", ";")), None),
    "csv quotes": ("s.csv", text('"1","0.5"\n' * NODES), None),
    "csv no last line end": ("s.csv", text(CELLS.strip()), None),
    "csv blank lines": ("s.csv", text(CELLS.replace("\n", "\n\n")), None),
    "csv empty": ("s.csv", text(""), "empty"),
    "csv blank": ("s.csv", text("\n \n\n"), "empty"),
    "csv header only": ("s.csv", text("a,b,c\n"), "header"),
    "csv same names": ("s.csv", text("a,b,a\n" + "1,2,3\n" * NODES), "'a' for columns 0 and 2"),
    "csv ragged": ("s.csv", text(CELLS + "1,2\n"), "row 40"),
    "csv long row": ("s.csv", text(CELLS + "1," * 500 + "1\n"), "columns in every row"),
    "csv long rows": ("s.csv", text("a,b\n" + "1,2,3\n" * NODES), "columns in every row"),
    "csv short rows": ("s.csv", text("a,b,c\n" + "1,2\n" * NODES), "columns in every row"),
    "csv header across lines": ("s.csv", text('"a\nb",c\n' + "1,2\n" * NODES), "s.csv"),
    "csv nan": ("s.csv", text(CELLS.replace("\n", ",nan\n", 1).replace(
        "\n", ",1\n").replace(",nan,1\n", ",nan\n")), "row 0"),
    "csv NA": ("s.csv", text("1,2\n3,NA\n"), "'NA'"),
    "csv missing cell": ("s.csv", text("1,2\n3,\n"), "missing"),
    "csv infinite": ("s.csv", text("1,2\n3,inf\n"), "finite"),
    "csv text": ("s.csv", text("1,2\n3,four\n"), "'four'"),
    "csv long text": ("s.csv", text("1,2\n3," + "x" * 10_000 + "\n"), "not numeric"),
    "csv decimal comma": ("s.csv", text("1;2,5\n3;4,5\n"), "number"),
    "csv overflow": ("s.csv", text("1,2\n3,1e999\n"), "finite"),
    "csv formula": ("s.csv", text('1,2\n3,"=cmd()"\n'), "'=cmd()'"),
    "csv nul": ("s.csv", text(b"1,2\n3,\x00\n"), "number"),
    "csv latin-1": ("s.csv", text("n\xe4m,b\n1,2\n".encode("latin1")), "UTF-8"),
    "csv latin-1 late": ("s.csv", text(b"1,2\n3,\xe4\n"), "UTF-8"),
    "csv utf-16": ("s.csv", text("1,2\n3,4\n".encode("utf-16")), "UTF-8"),
    "csv binary": ("s.csv", text(bytes(range(256)) * 4), "s.csv"),
    "csv open quote": ("s.csv", text('1,2\n"3,4\n'), "columns in every row"),
    "csv huge cell": ("s.csv", text("1" * 200_000 + ",2\n3,4\n"), "s.csv"),
    "csv labels only": ("s.csv", text("node\n1\n2\n"), "labels only"),
    "csv same labels": ("s.csv", text("node,a,b\n7,1,2\n7,3,4\n"), "label 7"),
    "csv missing label": ("s.csv", text("node,a,b\n7,1,2\n,3,4\n"), "label"),
    "csv long label": ("s.csv", text(f"node,a,b\n{'x' * 9999},1,2\ny,3,4\n"), "1000 characters"),
    "csv labels of other edges": ("s.csv", text("node,a,b\n7,1,2\n8,3,4\n"), "such as 7, 8"),
    # .parquet
    "parquet half": ("s.parquet", frame(**columns(pa.float16())), None),
    "parquet integers": ("s.parquet", frame(**{str(i): np.arange(NODES) for i in range(9)}), None),
    "parquet names with dots": (
        "s.parquet", frame(**{f"a.{i}": column for i, column in enumerate(waves().T)}), None),
    "parquet index as a range": ("s.parquet", pandas_metadata(start=0, stop=NODES, step=1), None),
    "parquet absurd index": ("s.parquet", pandas_metadata(start=0, stop=HUGE, step=1), None),
    "parquet index of text": ("s.parquet", pandas_metadata(start="a", stop="b", step=0), None),
    "parquet index of step 0": ("s.parquet", pandas_metadata(start=0, stop=9, step=0), None),
    "parquet huge index": (
        "s.parquet", pandas_metadata(start=2**70, stop=2**70 + NODES, step=1), None),
    "parquet empty file": ("s.parquet", text(""), "parquet file"),
    "parquet magic only": ("s.parquet", text("PAR1PAR1"), "parquet file"),
    "parquet random": ("s.parquet", text(bytes(range(256))), "parquet file"),
    "parquet absurd footer": (
        "s.parquet", text(b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1"), "parquet file"),
    "parquet lying footer": ("s.parquet", lying_footer, "as the footer says"),
    "parquet no rows": ("s.parquet", frame(a=pa.array([], pa.float32())), "empty"),
    "parquet no columns": ("s.parquet", frame(), "empty"),
    "parquet text": ("s.parquet", frame(a=["x"] * NODES, b=["y"] * NODES), "column 'a'"),
    "parquet truth": ("s.parquet", frame(a=[True] * NODES), "column 'a'"),
    "parquet lists": ("s.parquet", frame(a=[[1.0]] * NODES), "column 'a'"),
    "parquet records": ("s.parquet", frame(a=[{"b": 1.0}] * NODES), "column 'a'"),
    "parquet decimals": ("s.parquet", frame(a=pa.array([1] * NODES, pa.decimal128(9, 2))), "'a'"),
    "parquet dates": ("s.parquet", frame(a=pa.array([1] * NODES, pa.date32())), "column 'a'"),
    "parquet nulls": ("s.parquet", frame(a=[1.0, None] * 20, b=[1.0] * 40), "row 1"),
    "parquet all null": ("s.parquet", frame(a=pa.nulls(NODES)), "column 'a'"),
    "parquet nan": ("s.parquet", frame(a=[1.0, float("nan")] * 20), "row 1"),
    "parquet null label": ("s.parquet", frame(node=[1, None], a=[1.0, 2.0]), "row 1"),
    "parquet labels of lists": ("s.parquet", frame(node=[[1], [2]], a=[1.0, 2.0]), "node labels"),
    "parquet labels beyond 63 bits": (
        "s.parquet", frame(node=pa.array([1, 2**63 + 5], pa.uint64()), a=[1.0, 2.0]), "2^63"),
    "parquet long label": ("s.parquet", frame(node=["x", "y" * 5000], a=[1.0, 2.0]), "characters"),
    "parquet same labels": ("s.parquet", frame(node=["x", "x"], a=[1.0, 2.0]), "'x'"),
    "parquet dictionary of labels": (
        "s.parquet", frame(node=pa.array(["x", "y"]).dictionary_encode(), a=[1.0, 2.0]),
        "such as 'x', 'y'"),
    # .zarr
    "zarr": ("s.zarr", lambda path: write_zarr(path, shape=[NODES, 4]), None),
    "zarr file": ("s.zarr", text("x"), "there is none"),
    "zarr empty folder": ("s.zarr", lambda path: path.mkdir(), "zarr array"),
    "zarr code in a filter": ("s.zarr", evil_zarr(2, "filter"), "pickle"),
    "zarr code in a compressor": ("s.zarr", evil_zarr(2, "compressor"), "pickle"),
    "zarr code in objects": ("s.zarr", evil_zarr(2, "object"), "pickle"),
    "zarr code in version 3": ("s.zarr", evil_zarr(3, "codec"), "pickle"),
    "zarr code in a shard": ("s.zarr", evil_zarr(3, "shard"), "pickle"),
    "zarr absurd": (
        "s.zarr", lambda path: write_zarr(path, shape=[HUGE, HUGE]), "s.zarr"),
    "zarr absurd chunk": (
        "s.zarr",
        lambda path: write_zarr(path, shape=[NODES, 9], chunk_grid=zarr_grid(HUGE, HUGE)), "chunk"),
    "zarr chunk of nothing": (
        "s.zarr", lambda path: write_zarr(path, chunk_grid=zarr_grid(0, 0)), "zarr"),
    "zarr text": ("s.zarr", lambda path: write_zarr(path, data_type="string"), "s.zarr"),
    "zarr complex": ("s.zarr", lambda path: write_zarr(path, data_type="complex64"), "s.zarr"),
    "zarr one dimension": (
        "s.zarr",
        lambda path: write_zarr(path, shape=[4], chunk_grid={
            "name": "regular", "configuration": {"chunk_shape": [4]}}), "(N, T)"),
    "zarr no json": ("s.zarr", lambda path: (path.mkdir(), (path / "zarr.json").write_text("{")),
                     "zarr"),
    "zarr deep json": (
        "s.zarr",
        lambda path: (path.mkdir(), (path / "zarr.json").write_text("[" * 9999)), "zarr"),
    "zarr list": ("s.zarr", lambda path: (path.mkdir(), (path / "zarr.json").write_text("[1]")),
                  "zarr"),
    "zarr pipe as chunk": ("s.zarr", fifo_zarr, "regular file"),
}  # fmt: skip
EDGES: dict[str, tuple[str, Write, str | None]] = {
    # .csv
    "csv": ("e.csv", text(LINES), None),
    "csv header": ("e.csv", text("source,target\n" + LINES), None),
    "csv target first": ("e.csv", text("target,source\n" + LINES), None),
    "csv float ids": ("e.csv", text(LINES.replace(",", ".0,")), None),
    "csv signed ids": ("e.csv", text(LINES.replace(",", ",+")), None),
    "csv unicode digits": ("e.csv", text("٠,١\n" + LINES), None),
    "csv self-loops": ("e.csv", text(LINES + "3,3\n"), None),
    "csv repeated edges": ("e.csv", text(LINES * 3), None),
    "csv isolated nodes": ("e.csv", text("0,1\n"), None),
    "csv zero weight": ("e.csv", text(LINES.replace("\n", ",1\n") + "0,9,0\n"), None),
    "csv formatted id": ("e.csv", text("1e0,2\n" + LINES), None),
    "csv only self-loops": ("e.csv", text("3,3\n4,4\n"), "self-loops"),
    "csv only zero weights": ("e.csv", text("1,2,0\n3,4,0\n"), "edge between two nodes"),
    "csv negative id": ("e.csv", text(LINES + "-1,2\n"), "row 40"),
    "csv id beyond the nodes": ("e.csv", text(LINES + f"{NODES},2\n"), "row 40"),
    "csv ids from one": ("e.csv", text("".join(f"{a + 1},{b + 1}\n" for a, b in RING.T)), "from 1"),
    "csv huge id": ("e.csv", text(f"{10**18},2\n"), str(10**18)),
    "csv id beyond 64 bits": ("e.csv", text(f"{10**30},2\n"), "2^63"),
    "csv id of 5000 digits": ("e.csv", text("9" * 5000 + ",2\n"), "row 0"),
    "csv fraction": ("e.csv", text("0.5,2\n"), "integer node id"),
    "csv nan id": ("e.csv", text("0,1\nnan,2\n"), "integer node id"),
    "csv infinite id": ("e.csv", text("0,1\ninf,2\n"), "integer node id"),
    "csv superscript id": ("e.csv", text("0,1\n²,2\n"), "integer node id"),
    "csv missing id": ("e.csv", text("0,1\n,2\n"), "missing"),
    "csv text id": ("e.csv", text("0,1\na,2\n"), "integer node id"),
    "csv one column": ("e.csv", text("source\n1\n2\n"), "target"),
    "csv four columns": ("e.csv", text("1,2,3,4\n"), "4"),
    "csv two sources": ("e.csv", text("source,src,target\n1,2,3\n"), "one column out of"),
    "csv source without target": ("e.csv", text("source,b\n1,2\n"), "'target'"),
    "csv negative weight": ("e.csv", text("0,1,-1\n"), "non-negative weight"),
    "csv nan weight": ("e.csv", text("0,1,nan\n"), "e.csv"),
    "csv infinite weight": ("e.csv", text("0,1,inf\n"), "e.csv"),
    "csv text weight": ("e.csv", text("0,1,strong\n"), "'strong'"),
    "csv missing weight": ("e.csv", text("0,1,1\n1,2,\n"), "missing"),
    "csv ragged": ("e.csv", text(LINES + "1,2,3\n"), "columns in every row"),
    "csv binary": ("e.csv", text(bytes(range(256)) * 3), "e.csv"),
    "csv empty": ("e.csv", text(""), "empty"),
    "csv without the column of weights": (
        "e.csv", text("source,target,weight\n0,1\n"), "columns in every row"),
    "csv without targets": ("e.csv", text("source,target\n0\n1\n"), "columns in every row"),
    # .parquet
    "parquet": ("e.parquet", frame(source=RING[0], target=RING[1]), None),
    "parquet dictionary of ids": (
        "e.parquet",
        frame(source=pa.array(RING[0]).dictionary_encode(), target=RING[1]), None),
    "parquet text": ("e.parquet", frame(source=["a"], target=["b"]), "text"),
    "parquet dictionary of text": (
        "e.parquet", frame(source=pa.array(["a"]).dictionary_encode(), target=["b"]), "text"),
    "parquet mixed": ("e.parquet", frame(source=["a"], target=[1]), "both ids"),
    "parquet null": ("e.parquet", frame(source=[1, None], target=[0, 1]), "row 1"),
    "parquet lists": ("e.parquet", frame(source=[[1]], target=[[2]]), "'source'"),
    "parquet truth": ("e.parquet", frame(source=[True], target=[False]), "'source'"),
    "parquet nan": ("e.parquet", frame(source=[0.0, float("nan")], target=[1.0, 2.0]), "integer"),
    "parquet beyond 63 bits": (
        "e.parquet", frame(source=pa.array([2**63 + 1], pa.uint64()), target=[1]), "node id"),
    "parquet long text": ("e.parquet", frame(source=["a" * 5000], target=["b"]), "characters"),
    "parquet negative weight": (
        "e.parquet", frame(source=[0], target=[1], weight=[-1.0]), "non-negative"),
    "parquet text weight": (
        "e.parquet", frame(source=[0], target=[1], weight=["a"]), "e.parquet"),
    "parquet no rows": (
        "e.parquet", frame(source=pa.array([], pa.int64()), target=pa.array([], pa.int64())),
        "empty"),
    "parquet one column": ("e.parquet", frame(source=[1]), "'target'"),
    "parquet random": ("e.parquet", text(bytes(range(256))), "parquet file"),
    "parquet bomb": ("e.parquet", parquet_bomb, "200 times"),
    # .npz
    "npz": ("e.npz", arrays(edge_index=RING), None),
    "npz small integers": ("e.npz", arrays(edge_index=RING.astype("u1")), None),
    "npz floats": ("e.npz", arrays(edge_index=RING.astype("f4")), None),
    "npz matrix": ("e.npz", saved(sp.csr_array((np.ones(NODES), RING), (NODES, NODES))), None),
    "npz matrix by columns": ("e.npz", saved(sp.csc_array((np.ones(NODES), RING), (NODES, NODES))),
                              None),
    "npz list of a matrix": ("e.npz", saved(sp.coo_array((np.ones(NODES), RING), (NODES, NODES))),
                             None),
    "npz matrix of blocks": (
        "e.npz", saved(sp.bsr_array(np.eye(NODES))), "csr, csc, coo"),
    "npz transposed": ("e.npz", arrays(edge_index=RING.T), "Transpose it"),
    "npz flat": ("e.npz", arrays(edge_index=RING[0]), "(2, E)"),
    "npz text": ("e.npz", arrays(edge_index=RING.astype("U3")), "text"),
    "npz complex": ("e.npz", arrays(edge_index=RING.astype("c8")), "complex64"),
    "npz empty index": ("e.npz", arrays(edge_index=np.empty((2, 0), int)), "at least one edge"),
    "npz nan": ("e.npz", arrays(edge_index=np.array([[0.0], [np.nan]])), "integer node id"),
    "npz out of range": ("e.npz", arrays(edge_index=RING + 1), "from 1"),
    "npz other weights": ("e.npz", arrays(edge_index=RING, edge_weight=np.ones(3)), "one weight"),
    "npz negative weights": (
        "e.npz", arrays(edge_index=RING, edge_weight=-np.ones(NODES)), "non-negative"),
    "npz other keys": ("e.npz", arrays(a=RING), "edge_index"),
    "npz no keys": ("e.npz", lambda path: npz(path), "edge_index"),
    "npz no zip": ("e.npz", text("hello"), ".npz archive"),
    "npz empty file": ("e.npz", text(""), ".npz archive"),
    "npz code": ("e.npz", evil_npz, "Object arrays are refused"),
    "npz absurd header": ("e.npz", lambda path: npz(path, edge_index=npy((2, HUGE), "'<i8'")),
                          "the header says"),
    "npz bomb": ("e.npz", bomb, "200 times"),
    "npz bomb with a small label": ("e.npz", small_bomb, ".npz"),
    "npz absurd matrix": ("e.npz", csr([0, 1], [0], (HUGE, HUGE)), "e.npz"),
    "npz matrix of negative shape": ("e.npz", csr([0, 1], [0], (-1, -1)), "e.npz"),
    "npz matrix of another size": ("e.npz", csr([0, 1], [0], (1, 1)), f"({NODES}, {NODES})"),
    "npz falling offsets": ("e.npz", csr([0, 40_000, *[0] * 39], []), "rising offsets"),
    "npz offsets beyond": ("e.npz", csr([0] * NODES + [10**12], [0]), "e.npz"),
    "npz negative offsets": ("e.npz", csr([0, -5, *[1] * 39], [0]), "e.npz"),
    "npz index beyond": ("e.npz", csr([0] + [1] * NODES, [10**9]), "'indices' in"),
    "npz negative index": ("e.npz", csr([0] + [1] * NODES, [-7]), "'indices' in"),
    "npz no offsets": (
        "e.npz", arrays(format=np.array(b"csr"), shape=np.array([2, 2])), "no data"),
    "npz other format": (
        "e.npz", arrays(format=np.array(b"\xff\xfe"), shape=np.array([2, 2])), "format"),
    "npz other suffix": ("e.npy", array(lambda: RING), "'.npy'"),
    # paths
    "missing": ("e.csv", lambda path: None, "there is none"),
    "folder": ("e.csv", lambda path: path.mkdir(), "there is none"),
    "pipe": ("e.npz", fifo, "there is none"),
    "loop of links": ("e.csv", loop, "there is none"),
}  # fmt: skip
POSITIONAL: dict[str, tuple[str, Write, str | None]] = {
    "npy": ("p.npy", array(lambda: np.ones((NODES, 3), "f4")), None),
    "npy integers": ("p.npy", array(lambda: np.ones((NODES, 3), "i4")), None),
    "parquet": ("p.parquet", frame(a=np.ones(NODES), b=np.ones(NODES)), None),
    "npy other rows": ("p.npy", array(lambda: np.ones((3, 3))), f"({NODES}, P)"),
    "npy one dimension": ("p.npy", array(lambda: np.ones(NODES)), f"({NODES}, P)"),
    "npy no columns": ("p.npy", array(lambda: np.ones((NODES, 0))), f"({NODES}, P)"),
    "npy nan": ("p.npy", array(lambda: np.full((NODES, 2), np.nan)), "row 0"),
    "npy beyond float32": ("p.npy", array(lambda: np.full((NODES, 2), 1e300)), "row 0"),
    "npy complex": ("p.npy", array(lambda: np.ones((NODES, 2), "c8")), "complex64"),
    "npy text": ("p.npy", array(lambda: np.ones((NODES, 2)).astype("U3")), "p.npy"),
    "npy code": ("p.npy", evil, "Object arrays are refused"),
    "npy absurd": ("p.npy", text(npy((NODES, HUGE))), "the header says"),
    "parquet text": ("p.parquet", frame(a=["x"] * NODES), "p.parquet"),
    "parquet null": ("p.parquet", frame(a=[None, 1.0] * 20), "row 0"),
    "parquet lists": ("p.parquet", frame(a=[[1.0]] * NODES), "p.parquet"),
    "parquet random": ("p.parquet", text("hello"), "parquet file"),
    "other suffix": ("p.csv", text("1,2\n"), "'.csv'"),
    "missing": ("p.npy", lambda path: None, "there is none"),
    "pipe": ("p.npy", fifo, "there is none"),
}
HAND_MADE = len(SERIES) + len(EDGES) + len(POSITIONAL)


def check(folder: Path, name: str, expected: str | None, *words: object) -> None:
    """Import the files; either there is a data set, or there is nothing but a clear error."""
    before = files(folder)
    arguments = ["import", *words, "--name", "own", "--root", folder / "data"]
    outcome = call(main, *arguments)
    assert not (folder / "canary").exists(), "something was executed"
    if expected is None:
        assert outcome.code == 0, outcome.err
        assert call(main, "check", folder / "data/own").code == 0
    else:
        assert_clear(outcome, name, expected)
        assert files(folder) == before, "files are left behind"


@pytest.mark.filterwarnings("ignore:.*disconnected:UserWarning")
@pytest.mark.parametrize("case", SERIES)
def test_series(case: str, good: Path, tmp_path: Path) -> None:
    name, write, expected = SERIES[case]
    write(tmp_path / name)
    # What fits no edges is said of the edges.
    place = "edges.csv" if expected and ("id in" in expected or "such as" in expected) else name
    check(tmp_path, place, expected,
          "--edges", good / "edges.csv", "--series", tmp_path / name)  # fmt: skip
    error = attempt(lambda: read_files(good / "edges.csv", tmp_path / name, 1.0, "own", 1, 0))
    if expected is None:
        assert error is None
    else:
        assert_clear_text(str(error))
    assert not (tmp_path / "canary").exists(), "something was executed"


@pytest.mark.filterwarnings("ignore:.*disconnected:UserWarning")
@pytest.mark.parametrize("case", EDGES)
def test_edges(case: str, good: Path, tmp_path: Path) -> None:
    name, write, expected = EDGES[case]
    write(tmp_path / name)
    check(tmp_path, name, expected, "--edges", tmp_path / name, "--series", good / "series.npy")


@pytest.mark.parametrize("case", POSITIONAL)
def test_positional(case: str, good: Path, tmp_path: Path) -> None:
    name, write, expected = POSITIONAL[case]
    write(tmp_path / name)
    check(tmp_path, name, expected, "--edges", good / "edges.csv",
          "--series", good / "series.npy", "--positional", tmp_path / name)  # fmt: skip


def test_a_pickle_would_execute(tmp_path: Path) -> None:
    """The canary sings where it is let: the tests above would notice."""
    with pickle.loads(evil_pickle(tmp_path / "canary")):
        assert (tmp_path / "canary").exists()
