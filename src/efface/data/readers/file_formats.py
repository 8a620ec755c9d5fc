"""Read one file, in the format of its name or its content. No torch."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from efface.data.readers.arrow import parse_parquet
from efface.data.readers.csv_file import parse_csv
from efface.data.readers.json_file import detect_json_suffix, parse_json, parse_json_lines
from efface.data.readers.limits import Limits
from efface.data.readers.path_hints import missing_path_hint, unsupported_format
from efface.data.readers.table import SourceRow, SourceTable
from efface.errors import EffaceError
from efface.files.safe_read import read_bytes


def _parse_document(source: str, text: str) -> tuple[SourceRow, ...]:
    """A whole text as one row."""
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
_PARQUET, _GZIP = ".parquet", ".gz"
TABLE_SUFFIXES = tuple(suffix for suffix in (*_PARSERS, _PARQUET) if suffix not in TEXT_SUFFIXES)


def read_file(path: Path, limits: Limits) -> SourceTable:
    """Read a file in the format of its name (`.jsonl`, `.csv`, `.txt.gz`), otherwise of its content.

    Args:
        path: The file; a byte-order mark is ignored.
        limits: The most to read.

    Returns:
        Its rows.

    Raises:
        EffaceError: If the file cannot be read, is larger than the limits, has no rows, is not UTF-8 or not in the
            format of its name.
    """
    content, suffix = read_content(path, limits), format_suffix(path)
    if suffix == _PARQUET or (suffix not in _PARSERS and content.startswith(b"PAR1")):
        return SourceTable(str(path), parse_parquet(str(path), content, limits), _sha256(content))
    if unsupported := unsupported_format(suffix, content):
        raise EffaceError(f"{path} is {unsupported}")
    parse, text = _PARSERS.get(suffix) or _detect_parser(path, content), decode_utf8(path, content)
    if parse is not _parse_document:
        limits.check_text(str(path), content)
    warnings = tuple(json_as_text_warnings(path, text)) if parse is _parse_document else ()
    return SourceTable(str(path), parse(str(path), text), _sha256(content), warnings)


def json_as_text_warnings(path: Path, text: str) -> list[str]:
    """Warn about a text file that contains JSON.

    Args:
        path: The text file.
        text: Its content.

    Returns:
        One warning, or none.
    """
    suffix = detect_json_suffix(text)
    if suffix is None:
        return []
    return [f"{path} is read as text but looks like JSON; change its suffix to {suffix} to read its rows"]


def format_suffix(path: Path) -> str:
    """The suffix of the format in lower case, without that of gzip."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == _GZIP else suffix


def read_content(path: Path, limits: Limits) -> bytes:
    """Read a file and decompress it if it is packed with gzip.

    Args:
        path: The file.
        limits: The most to read.

    Returns:
        Its content.

    Raises:
        EffaceError: If the file cannot be read or decompressed, or is larger than the limits.
    """
    try:
        content = read_bytes(path, limits.max_bytes, limits.size_remedy)
    except FileNotFoundError:
        raise EffaceError(f"there is no file {path}; {missing_path_hint(path)}") from None
    except IsADirectoryError:
        raise EffaceError(f"{path} is a folder; give the file inside it") from None
    except OSError as error:
        raise EffaceError(
            f"cannot read {path}: {error.strerror or error}; check the path and its permissions"
        ) from error
    if path.suffix.lower() != _GZIP:
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(limits.max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise EffaceError(f"{path} cannot be decompressed ({error}); compress it again with gzip") from error
    limits.check_size(str(path), len(unpacked))
    return unpacked


def decode_utf8(path: Path, content: bytes) -> str:
    """Decode a file's content, without its byte-order mark.

    Args:
        path: The file, for the error message.
        content: Its content.

    Returns:
        The text.

    Raises:
        EffaceError: If the content is not UTF-8; the message names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EffaceError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error


def _detect_parser(path: Path, content: bytes) -> Callable[[str, str], tuple[SourceRow, ...]]:
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return parse_json
    suffixes = ", ".join([*_PARSERS, _PARQUET])
    raise EffaceError(
        f"the format of {path} is not known from its name or content; change its suffix to one of {suffixes}"
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
