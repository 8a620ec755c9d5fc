"""The texts of a request as one keyed digest, which tells nothing without the key and the texts."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from efface.config.parse import validate_config
from efface.data.config import SHORTHANDS, DataConfig, FileConfig
from efface.data.load import load_task
from efface.data.sources.user_files import load_file
from efface.errors import EffaceError
from efface.schema import Item

_LEAF, _ROOT, _KEY = b"efface item 1\0", b"efface root 1\0", b"efface key 1\0"
"""What each digest starts with, so that none can be taken for another."""


def texts_root(items: Iterable[Item], key: bytes) -> str:
    """HMAC-SHA256 over the HMAC-SHA256 of each item, sorted, so that the order of the rows does not matter.

    Args:
        items: The forget set.
        key: The key of the record.

    Returns:
        Hexadecimal.
    """
    import rfc8785

    leaves = []
    for item in items:
        content = rfc8785.dumps(item.model_dump(mode="json", exclude={"id"}, exclude_defaults=True))
        leaves.append(hmac.digest(key, _LEAF + content, hashlib.sha256))
    return hmac.new(key, _ROOT + b"".join(sorted(leaves)), hashlib.sha256).hexdigest()


def key_id(key: bytes) -> str:
    """Tells which key a record needs; the key is random, so that this does not help to find it."""
    return hashlib.sha256(_KEY + key).hexdigest()[:16]


def how_read(data: DataConfig) -> dict[str, Any]:
    """How the forget set is read, without the names of files: what `read_again` needs.

    Args:
        data: Settings of the data of one request.
    """
    if data.source != "files" or data.forget is None:
        # no file of a user is in them, but numbers and the names of published splits
        names = {"source", "split", "task", "authors", "forget_authors", "author_seed"}
        return data.model_dump(mode="json", include=names, exclude_defaults=True) | {"source": data.source}
    # how the file is read, such as the names of columns, but not where it is
    how = data.forget.model_dump(mode="json", exclude={"path", "subset", "split", "revision"}, exclude_defaults=True)
    return {"source": "files", "passage_length": data.passage_length, "file": how}


def load_items(data: DataConfig) -> tuple[dict[str, str], tuple[Item, ...]]:
    """The forget set of a run.

    Args:
        data: The run's settings of its data.

    Returns:
        Source -> SHA-256, and the items.

    Raises:
        EffaceError: It is not there, or cannot be read.
    """
    if data.source == "files" and data.forget is not None:
        file = load_file(data.forget, "forget", data.passage_length)
        return {file.name: file.sha256}, file.items
    task = load_task(data, data_dir=None)
    return task.sources, task.forget


def read_again(request: str, how: Mapping[str, Any]) -> tuple[Item, ...]:
    """The items of a request, read as the record says.

    Args:
        request: The file of a user, or the name of a benchmark.
        how: From `how_read`.

    Raises:
        EffaceError: It cannot be read so.
    """
    if how.get("source") == "files":
        try:
            file, length = FileConfig(path=request, **how["file"]), int(how["passage_length"])
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            raise EffaceError(
                f"--request {request}: the record does not say how to read it; use a newer efface"
            ) from error
        return load_file(file, "forget", length).items
    config = validate_config(DataConfig, how)
    if request not in SHORTHANDS or SHORTHANDS[request].source != config.source:
        names = ", ".join(name for name, each in SHORTHANDS.items() if each.source == config.source)
        raise EffaceError(f"--request {request}: the record is about a benchmark; give its name, one of {names}")
    return load_task(config, data_dir=None).forget
