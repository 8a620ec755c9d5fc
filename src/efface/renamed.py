"""Names that settings and result keys had in earlier versions, and what they are called now.

Folders that efface wrote are read through this table. What a user types is not: an old name is refused with the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SETTINGS: dict[str, str] = {
    "data.after": "data.forgotten_before",
    "data.keep_rest": "data.retain_minus_forget",
    "data.padding": "data.extra_retain",
    "data.padding_items": "data.extra_retain_items",
    "evaluate.batch_tokens": "evaluate.max_cache_tokens",
    "evaluate.keep": "evaluate.select_epoch",
    "evaluate.new_tokens": "evaluate.max_new_tokens",
    "evaluate.token_budget": "evaluate.max_tokens_per_forward",
    "train.checkpoint_every": "train.save_steps",
    "train.token_budget": "train.max_tokens_per_forward",
}
"""Dotted key of a setting, old -> new."""

SETTING_VALUES: dict[tuple[str, str], str] = {
    ("data", "generated"): "synthetic-authors",
    ("data.retain", "generated"): "model-answers",
    ("data.source", "generated"): "synthetic-authors",
}
"""(Dotted key, old value) -> new value."""

SWEEP_KEYS: dict[str, str] = {
    "lines": "baselines",
    "per": "overrides",
    "when": "where",
    "then": "settings",
}
"""Key of a sweep's spec, old -> new."""

SCORE_KEYS: dict[str, str] = {"own": "custom"}
"""Key of a set's scores in results.json and scores.json, old -> new."""

FILES: dict[str, str] = {"own_answers.jsonl": "model_answers.jsonl"}
"""Name of a file in a run's folder, old -> new."""


def current_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of a config.yaml that efface wrote, under their current names.

    Args:
        settings: Nested settings as read from the file.
        prefix: Dotted key of the group that `settings` are, with a dot at the end; empty for a whole file.

    Returns:
        A copy in which every key and value of the tables above has its current name; the order stays.

    """
    renamed: dict[str, Any] = {}
    for name, value in settings.items():
        key = SETTINGS.get(prefix + name, prefix + name)
        current = value
        if isinstance(value, Mapping):
            current = current_settings(value, f"{key}.")
        elif isinstance(value, str):
            current = SETTING_VALUES.get((key, value), value)
        renamed[key.removeprefix(prefix)] = current
    return renamed


def original_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The inverse of `current_settings`: settings under the names that they had first, as in the keys of sweeps.

    Args:
        settings: Nested settings under their current names.
        prefix: Dotted key of the group that `settings` are, with a dot at the end; empty for a whole file.

    Returns:
        A copy in which every key and value of the tables above has its first name; the order stays.

    """
    first_keys = {new: old for old, new in SETTINGS.items()}
    first_values = {(key, new): old for (key, old), new in SETTING_VALUES.items()}
    renamed: dict[str, Any] = {}
    for name, value in settings.items():
        key = prefix + name
        original = value
        if isinstance(value, Mapping):
            original = original_settings(value, f"{key}.")
        elif isinstance(value, str):
            original = first_values.get((key, value), value)
        renamed[first_keys.get(key, key).removeprefix(prefix)] = original
    return renamed


def renamed_to(key: str, value: object = None) -> str | None:
    """What a setting that a user typed is called now.

    Args:
        key: Dotted key of the setting.
        value: What it was set to.

    Returns:
        The current name of the key, or `key=value` where the value was renamed; None where neither was.

    """
    if key in SETTINGS:
        return SETTINGS[key]
    new = SETTING_VALUES.get((key, value)) if isinstance(value, str) else None
    return None if new is None else f"{key}={new}"
