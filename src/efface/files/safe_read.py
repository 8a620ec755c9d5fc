"""Read files that may come from a stranger: regular files only, and never more bytes than a limit. No torch."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from efface.errors import EffaceError, first_line

MIB = 2**20
MAX_JSON = 32 * MIB
"""Of a JSON file that efface, transformers or another tool wrote: as Python objects it may take 30 times as much."""
_MAX_LINE = 64 * MIB


def expand_home(path: str) -> Path:
    """Replace `~` at the start of a path by the home folder.

    Args:
        path: As a user typed it.

    Returns:
        The path.

    Raises:
        EffaceError: It is no possible path, or starts with `~NAME` and there is no such user.
    """
    try:
        os.fsencode(path)
        if "\0" in path:
            raise ValueError("it contains a null character")
        return Path(path).expanduser()
    except RuntimeError:
        raise EffaceError(f"{path!r} is in the home folder of an unknown user; give the whole path") from None
    except ValueError as error:
        raise EffaceError(f"{path!r} is not a possible path ({first_line(error)}); correct it") from None


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; a pipe or a device, whose end may never come, is refused.

    Args:
        path: The file; links are followed.

    Returns:
        The open file, positioned at its start.

    Raises:
        EffaceError: The path is a pipe, a socket or a device, or no possible path.
        OSError: The file cannot be opened, as `open` raises it; a folder is an `IsADirectoryError`.
    """
    try:
        # without O_NONBLOCK, opening a pipe waits until somebody writes to it
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError as error:  # a null character, or one that the file system cannot encode
        raise EffaceError(f"{str(path)!r} is not a possible path ({error}); correct it") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        os.close(descriptor)
        raise EffaceError(f"{path} is a pipe or a device, not a file; copy its content to a file and give that")
    try:
        return os.fdopen(descriptor, "rb")
    except OSError:  # a folder
        os.close(descriptor)
        raise


def read_bytes(path: Path, limit: int, remedy: str) -> bytes:
    """Read a whole file of a limited size.

    Args:
        path: The file.
        limit: The most bytes that it may have.
        remedy: What to do about a larger one, for the message.

    Returns:
        Its content.

    Raises:
        EffaceError: The file is larger, or as `open_regular`.
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise EffaceError(f"{path} has more than {limit / MIB:.4g} MiB; {remedy}")
    return content


def read_text(path: Path, limit: int, remedy: str) -> str:
    """Read a whole text file in UTF-8.

    Args:
        path: The file.
        limit: The most bytes that it may have.
        remedy: What to do about a larger one, for the message.

    Returns:
        Its text.

    Raises:
        EffaceError: The file is larger, or as `open_regular`.
        OSError: It cannot be read.
        UnicodeDecodeError: It is not in UTF-8.
    """
    return read_bytes(path, limit, remedy).decode("utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: A file of at most `MAX_JSON` bytes.

    Returns:
        Its value.

    Raises:
        EffaceError: As `read_bytes`.
        OSError: It cannot be read.
        ValueError: It is not JSON, or nested too deeply.
    """
    return parse_json(read_bytes(path, MAX_JSON, "files of this kind are smaller, so restore it from a copy"))


def parse_json(content: bytes | str) -> Any:
    """Parse JSON.

    Args:
        content: UTF-8 text.

    Returns:
        Its value.

    Raises:
        ValueError: It is not JSON, has a number of thousands of digits, or is nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_lines(path: Path) -> Iterator[bytes]:
    """Read a file line by line.

    Args:
        path: The file.

    Yields:
        Each line with its line break; the last one may have none.

    Raises:
        EffaceError: A line is longer than 64 MiB, or as `open_regular`.
        OSError: The file cannot be read.
    """
    with open_regular(path) as file:
        while line := file.readline(_MAX_LINE + 1):
            if len(line) > _MAX_LINE:
                raise EffaceError(
                    f"{path} has a line of more than {_MAX_LINE // MIB} MiB; restore the file from a copy"
                )
            yield line
