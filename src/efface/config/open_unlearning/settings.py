"""Settings that are collected while a configuration is converted."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efface.config.parse import nest_settings
from efface.errors import EffaceError


@dataclass
class Settings:
    """Settings by dotted name, and notes about what has no counterpart."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def nested(self) -> dict[str, Any]:
        """The settings as in a config file."""
        return nest_settings(self.values)


def mapping(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A block of a configuration; empty where there is none.

    Args:
        tree: The configuration, or a block of it.
        key: Of the block inside it.

    Returns:
        The block; empty also where the value is something else.
    """
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def text(tree: Mapping[str, Any], key: str, default: str, *, where: str) -> str:
    """A text of a block.

    Args:
        tree: The block.
        key: Of the text.
        default: Where there is none.
        where: The dotted name of the block.

    Raises:
        EffaceError: The value is something else.
    """
    value = tree.get(key)
    if value is not None and not isinstance(value, str):
        raise EffaceError(f"{where}.{key}={reprlib.repr(value)} is no text; correct it")
    return default if value is None else value


def number(tree: Mapping[str, Any], key: str, default: float, *, where: str) -> float:
    """A finite number of a block.

    Args:
        tree: The block.
        key: Of the number.
        default: Where there is none, or null.
        where: The dotted name of the block, for the message.

    Returns:
        The number; never a truth value.

    Raises:
        EffaceError: The value is something else.
    """
    value = tree.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise EffaceError(f"{where}.{key}={reprlib.repr(value)} is no finite number; correct it")
    return value
