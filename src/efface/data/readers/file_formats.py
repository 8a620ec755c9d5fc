"""One file's rows, whose format its name tells, else its content. No torch."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from efface.data.readers.arrow import parse_parquet
from efface.data.readers.csv_file import parse_csv
from efface.data.readers.json_file import detect_json_suffix, parse_json, parse_json_lines
from efface.data.readers.path_hints import missing_path_hint, unsupported_format
from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError


def _parse_document(source: str, text: str) -> tuple[SourceRow, ...]:
    """Return a whole text as one row."""
    if not text.strip():
        raise EffaceError(f"{source} is empty; fill it in or remove it")
    return (SourceRow(source, 1, {"text": text}),)


_PARSERS: dict[str, Callable[[str, str], tuple[SourceRow, ...]]] = {
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    ".json": parse_json,
    ".csv": parse_csv,
    ".tsv": partial(parse_csv, delimiters=("\t",)),
    ".txt": _parse_document,
    ".md": _parse_document,
}
TEXT_SUFFIXES = (".txt", ".md")
_PARQUET, _PACKED = ".parquet", ".gz"
TABLE_SUFFIXES = tuple(suffix for suffix in (*_PARSERS, _PARQUET) if suffix not in TEXT_SUFFIXES)


def read_file(path: Path) -> Table:
    """Return the rows of one file, whose format its name tells (`.jsonl`, `.csv`, `.txt.gz`), else its content.

    A byte-order mark is dropped. Raises `EffaceError` for a file that cannot be read, has no rows, is not UTF-8 or
    not in the format of its name.
    """
    content, suffix = read_content(path), format_suffix(path)
    if suffix == _PARQUET or (suffix not in _PARSERS and content.startswith(b"PAR1")):
        return Table(str(path), parse_parquet(str(path), content), _sha256(content))
    if foreign := unsupported_format(suffix, content):
        raise EffaceError(f"{path} is {foreign}")
    parse, text = _PARSERS.get(suffix) or _parser_for(path, content), decode_utf8(path, content)
    warnings = tuple(json_as_text_warnings(path, text)) if parse is _parse_document else ()
    return Table(str(path), parse(str(path), text), _sha256(content), warnings)


def json_as_text_warnings(path: Path, text: str) -> list[str]:
    """Return the warning about a text file that holds JSON; none for any other."""
    lines = detect_json_suffix(text)
    return [f"{path} is read as a text, but looks like JSON; let it end in {lines} to read its rows"] if lines else []


def format_suffix(path: Path) -> str:
    """Return the suffix that tells the format, in lower case, that of gzip apart."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == _PACKED else suffix


def read_content(path: Path) -> bytes:
    """Return what a file holds, unpacked. Raises `EffaceError` for one that cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise EffaceError(f"there is no file {path}; {missing_path_hint(path)}") from None
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


def decode_utf8(path: Path, content: bytes) -> str:
    """Return a file's text without its byte-order mark. Raises `EffaceError` for what is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EffaceError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error


def _parser_for(path: Path, content: bytes) -> Callable[[str, str], tuple[SourceRow, ...]]:
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return parse_json
    endings = ", ".join([*_PARSERS, _PARQUET])
    raise EffaceError(f"neither the name nor the content of {path} tells its format; let it end in one of {endings}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
