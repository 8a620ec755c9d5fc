"""Settings that are collected while a configuration is converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from efface.config.parse import nest_settings


@dataclass
class Settings:
    """Settings by dotted name, and notes about what has no counterpart."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def nested(self) -> dict[str, Any]:
        """The settings as in a config file."""
        return nest_settings(self.values)


def mapping(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A block of a configuration; empty where there is none."""
    value = tree.get(key)
    return value if isinstance(value, dict) else {}
