"""Earlier names of settings, result keys and files, and their current names.

Files that efface wrote are read through these tables. An old name that a user types is refused, and the error message
gives the current name.
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
"""Old dotted key of a setting -> current one."""

SETTING_VALUES: dict[tuple[str, str], str] = {
    ("data", "generated"): "synthetic-authors",
    ("data.retain", "generated"): "model-answers",
    ("data.source", "generated"): "synthetic-authors",
}
"""(Current dotted key, old value) -> current value."""

SWEEP_KEYS: dict[str, str] = {
    "lines": "baselines",
    "per": "overrides",
    "when": "where",
    "then": "settings",
}
"""Old key of a sweep's spec -> current one."""

SCORE_KEYS: dict[str, str] = {"own": "custom"}
"""Old key of a set's scores in results.json and scores.json -> current one."""

COMMANDS: dict[str, str] = {"efface data describe": "efface data check"}
"""Old command -> current one."""

FILES: dict[str, str] = {"own_answers.jsonl": "model_answers.jsonl"}
"""Old name of a file in a run's folder -> current one."""


def current_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Translate the settings of a config.yaml that efface wrote to their current names.

    Args:
        settings: Nested settings as read from the file.
        prefix: Dotted key of the group that contains `settings`, with a trailing dot; empty for a whole file.

    Returns:
        A copy in which every key and value has its current name, in the same order.
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
    """Find the current name of a setting that a user typed.

    Args:
        key: Dotted key of the setting.
        value: Value of the setting.

    Returns:
        The current key if the key was renamed, `key=value` if the value was renamed, otherwise None.
    """
    if key in SETTINGS:
        return SETTINGS[key]
    current = SETTING_VALUES.get((key, value)) if isinstance(value, str) else None
    return None if current is None else f"{key}={current}"
