"""From the data sets of MUSE and WMDP in open-unlearning to the sources of data that have them. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from efface.config.open_unlearning.overrides import Tree
from efface.config.open_unlearning.settings import mapping

_MUSE = re.compile(r"muse-bench/MUSE-(News|Books)")
_FOLD = re.compile(r"forget_([1-4])")
_WMDP = re.compile(r"(?:.*/)?(bio|cyber)-(forget|retain)-corpus\.jsonl")


def document_data(forget: Tree, retain: Tree | None) -> dict[str, Any] | None:
    """Find the source of data that has the same documents.

    Args:
        forget: The data set to forget.
        retain: The retain set; None for a method without one.

    Returns:
        Settings of `data`, with the length of chunks; None for other data sets.
    """
    found = _muse(_hub(forget), None if retain is None else _hub(retain)) or _wmdp(
        _hub(forget), None if retain is None else _hub(retain)
    )
    length = mapping(forget, "args").get("max_length")
    if found is None or forget.get("handler") != "PretrainingDataset":
        return None
    return found if length is None else {**found, "chunk_tokens": length}


def _muse(forget: Mapping[str, Any], retain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    match = _MUSE.fullmatch(str(forget.get("path")))
    expected = {"path": forget.get("path"), "name": "raw", "split": "retain1"}
    if match is None or (retain is not None and {key: retain.get(key) for key in expected} != expected):
        return None
    data = {"source": "muse", "corpus": match[1].lower()}
    name, split = forget.get("name"), str(forget.get("split"))
    if (name, split) == ("raw", "forget"):
        return data
    fold = _FOLD.fullmatch(split)
    return {**data, "forget_corpus": name, "task": int(fold[1])} if fold and name in ("scal", "sust") else None


def _wmdp(forget: Mapping[str, Any], retain: Mapping[str, Any] | None) -> dict[str, Any] | None:
    match = _WMDP.fullmatch(str(forget.get("data_files")))
    other = None if retain is None else _WMDP.fullmatch(str(retain.get("data_files")))
    if match is None or match[2] != "forget" or (retain is not None and (other is None or other[1] != match[1])):
        return None
    return {"source": "wmdp", "corpus": match[1], "retain_corpus": "wmdp"}


def _hub(data_set: Tree) -> Tree:
    return mapping(mapping(data_set, "args"), "hf_args")
