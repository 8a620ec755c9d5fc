"""Which data of a run are files of the user: their names and digests may identify a person. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from efface.data.config import MODEL_ANSWERS, PUBLISHED

_HUB = "hf:"
_SETS = {
    "forget": "forget set",
    "retain": "retain set",
    "extra_retain": "extra retain set",
    "holdout": "holdout set",
    "few_shot": "few-shot examples",
}


def given_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """The files that the data of a run come from, without benchmarks and datasets of the hub.

    Args:
        settings: Nested settings, as in config.yaml.

    Returns:
        Path as it was given -> what it is, such as `forget set`.
    """
    return {path: what for what, path in _paths(settings) if not path.startswith(_HUB)}


def find_given(source: str, files: Mapping[str, str]) -> str | None:
    """What a source of data is; None if no user gave it.

    Args:
        source: Its name, as manifests have it.
        files: As `given_files` returns them.
    """
    exact = {_expanded(path): what for path, what in files.items()}
    # a home folder may have moved since: rather one file too many than one too few
    same_name = {Path(path).name: what for path, what in files.items()}
    return None if source.startswith(_HUB) else exact.get(source, same_name.get(Path(source).name))


def _paths(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data, queue = settings.get("data") or {}, settings.get("continual") or {}
    earlier = [*(queue.get("requests") or ()), *(data.get("forgotten_before") or ())]
    for what, file in [*(("forget set", each) for each in earlier), *((_SETS[key], data.get(key)) for key in _SETS)]:
        if isinstance(file, Mapping):  # others are numbers of tasks, or name data that is no file
            yield what, str(file["path"])
        elif isinstance(file, str) and file not in (PUBLISHED, MODEL_ANSWERS):
            yield what, file
    if (refusals := data.get("refusals")) not in (None, PUBLISHED):
        yield "refusals", str(refusals)


def _expanded(path: str) -> str:
    with suppress(RuntimeError):  # the home folder of an unknown user
        return str(Path(path).expanduser())
    return path
