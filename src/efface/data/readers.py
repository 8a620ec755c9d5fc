"""From the path that a user gave to rows, whatever the format. No torch."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from efface.data.arrow_rows import HUB, is_saved_dataset, parse_parquet, read_hub_dataset, read_saved_dataset
from efface.data.config import FileConfig
from efface.data.csv_rows import parse_csv
from efface.data.json_rows import parse_json, parse_json_lines
from efface.data.rows import Row, Table
from efface.errors import EffaceError


def _parse_document(source: str, text: str) -> tuple[Row, ...]:
    """Return a whole text as one row; Windows' line breaks become those of the texts that models learn from."""
    if not text.strip():
        raise EffaceError(f"{source} is empty; fill it in or remove it")
    return (Row(source, 1, {"text": text.replace("\r\n", "\n")}),)


_PARSERS: dict[str, Callable[[str, str], tuple[Row, ...]]] = {
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    ".json": parse_json,
    ".csv": parse_csv,
    ".tsv": partial(parse_csv, delimiters="\t"),
    ".txt": _parse_document,
    ".md": _parse_document,
}
_DOCUMENTS = (".txt", ".md")
_PARQUET, _PACKED = ".parquet", ".gz"


def read_table(file: FileConfig) -> Table:
    """Return the rows of a file, a folder of texts, a saved dataset or a dataset of the hub.

    Raises `EffaceError` for what cannot be read, and for settings that mean nothing for this kind of source.
    """
    if file.path.startswith(HUB):
        return read_hub_dataset(file)
    path = Path(file.path).expanduser()
    is_saved = path.is_dir() and is_saved_dataset(path)
    for name in ("subset", "revision") if is_saved else ("subset", "revision", "split"):
        if getattr(file, name) is not None:
            raise EffaceError(f"{name}={getattr(file, name)} means nothing for {path}, which has no {name}s: remove it")
    if is_saved:
        return read_saved_dataset(path, file.split)
    return _read_folder(path) if path.is_dir() else read_file(path)


def read_file(path: Path) -> Table:
    """Return the rows of one file, whose format its name tells (`.jsonl`, `.csv`, `.txt.gz`), else its content.

    A byte-order mark is dropped. Raises `EffaceError` for a file that cannot be read, has no rows, is not UTF-8 or
    not in the format of its name.
    """
    content, suffix = _content(path), _format(path)
    if suffix == _PARQUET or (suffix not in _PARSERS and content.startswith(b"PAR1")):
        rows = parse_parquet(str(path), content)
    else:
        parse = _PARSERS.get(suffix) or _parser_for(path, content)
        rows = parse(str(path), _decoded(path, content))
    return Table(str(path), rows, hashlib.sha256(content).hexdigest())


def _read_folder(folder: Path) -> Table:
    """Return every text in a folder as a row, sorted by name."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    documents = [path for path in paths if _format(path) in _DOCUMENTS and path.is_file()]
    if not documents:
        raise EffaceError(f"the folder {folder} holds no .txt or .md file and no saved dataset; give a file inside it")
    tables = [read_file(path) for path in documents]
    rows = (Row(table.name, number, table.rows[0].values) for number, table in enumerate(tables, 1))
    listing = "".join(f"{path.name}\0{table.sha256}\n" for path, table in zip(documents, tables, strict=True))
    others = [path.name for path in paths if path not in documents]
    return Table(
        name=str(folder),
        rows=tuple(rows),
        sha256=hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest(),
        warnings=(f"{folder}: not read, being no .txt or .md files: {', '.join(others)}",) if others else (),
    )


def _format(path: Path) -> str:
    """Return the suffix that tells the format, in lower case."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == _PACKED else suffix


def _parser_for(path: Path, content: bytes) -> Callable[[str, str], tuple[Row, ...]]:
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return parse_json
    endings = ", ".join([*_PARSERS, _PARQUET])
    raise EffaceError(f"neither the name nor the content of {path} tells its format; let it end in one of {endings}")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise EffaceError(f"there is no file {path}; check the path") from None
    except IsADirectoryError:
        raise EffaceError(f"{path} is a folder; give the file inside it") from None
    except OSError as error:
        raise EffaceError(f"cannot read {path}: {error.strerror or error}; check the path and its rights") from error
    if path.suffix.lower() != _PACKED:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise EffaceError(f"{path} cannot be unpacked ({error}); pack it again with gzip") from error


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EffaceError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
