"""Overrides such as `trainer.args.seed=1`, with the rules of Hydra: a key must exist, unless a plus adds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from efface.errors import EffaceError, suggest
from efface.files.safe_yaml import InvalidYamlError, parse_yaml

Tree = dict[str, Any]

_OVERRIDE = re.compile(r"(?P<sign>~|\+\+?)?(?P<key>[\w./@-]+)(?P<equals>=)?(?P<value>.*)", re.DOTALL)
_NOT_LISTED = re.compile(r"hydra[./].*|eval\.\w+\.metrics\..*", re.DOTALL)
"""Keys of its configuration that `defaults.yaml` does not have, so that a misspelled one cannot be told."""


@dataclass(frozen=True)
class Override:
    """One argument of its `src/train.py`."""

    text: str
    """As it was given."""
    sign: str
    """`+` or `++`: the key may be new. `~`: delete it. Otherwise empty."""
    key: str
    value: Any


def parse_override(argument: str) -> Override:
    """Read an argument of its `src/train.py`.

    Args:
        argument: Such as `trainer=NPO` or `+trainer.args.lr_scheduler_type=cosine`.

    Raises:
        EffaceError: It is no override, or its value is no YAML.
    """
    match = _OVERRIDE.fullmatch(argument)
    if match is None or (match["sign"] != "~" and not match["equals"]):
        raise EffaceError(
            f"{argument!r} is no override; write key=value as for its src/train.py, such as trainer=NPO, or give the "
            "path of a YAML file first"
        )
    try:
        value = _number(parse_yaml(match["value"]))
    except InvalidYamlError as error:
        raise EffaceError(f"{match['key']}: its value is not valid YAML ({error}); correct it") from error
    return Override(text=argument, sign=match["sign"] or "", key=match["key"], value=value)


def apply_override(tree: Tree, override: Override, *, where: str) -> Tree:
    """Set or delete a key.

    Args:
        tree: The configuration; it stays as it is.
        override: What to change.
        where: What the configuration is, for the message.

    Returns:
        The changed configuration.

    Raises:
        EffaceError: There is no such key, and no `+` adds it.
    """
    path = override.key.split(".")
    if "+" not in override.sign and not _NOT_LISTED.fullmatch(override.key):
        _check_key(tree, path, override, where)
    return _changed(tree, path, override)


def _changed(tree: Tree, path: list[str], override: Override) -> Tree:
    name, *rest = path
    if rest:
        inner = tree.get(name)
        return {**tree, name: _changed(inner if isinstance(inner, dict) else {}, rest, override)}
    if override.sign == "~":
        return {key: value for key, value in tree.items() if key != name}
    return {**tree, name: override.value}


def _check_key(tree: Tree, path: list[str], override: Override, where: str) -> None:
    block: Any = tree
    for depth, name in enumerate(path):
        if isinstance(block, dict) and name in block:
            block = block[name]
            continue
        key = ".".join(path[: depth + 1])
        add = "" if override.sign == "~" else f", and only +{override.text} adds it"
        raise EffaceError(f"{override.text}: {where} has no key {key}{add}; {_nearest(tree, path[-1], block, name)}")


def _nearest(tree: Tree, last: str, block: Any, name: str) -> str:
    """The only key that ends alike, or what a block has instead of a name."""
    alike = [key for key in _dotted(tree) if key.rpartition(".")[2] == last]
    if len(alike) == 1:
        return f"did you mean {alike[0]!r}?"
    return suggest(name, map(str, block)) if isinstance(block, dict) else f"leave .{name} out"


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys of all values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _number(value: Any) -> Any:
    """Hydra reads 1e-5 as a number, YAML 1.1 as a text."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value
