"""Settings in a config.yaml that efface wrote, this version or an earlier one. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from efface.config.parse import read_yaml
from efface.renamed import current_settings


def read_saved_settings(path: Path) -> dict[str, Any]:
    """The settings in a config.yaml that efface wrote, this version or an earlier one.

    Args:
        path: The file.

    Returns:
        Nested settings under their current names.

    Raises:
        EffaceError: As `read_yaml`.
    """
    return current_settings(read_yaml(path))


def has_settings(path: Path, config: BaseModel) -> bool:
    """Whether a config.yaml that efface wrote has these settings; those that it does not have count as defaults.

    Args:
        path: The file, of this version or an earlier one.
        config: The settings.

    Raises:
        EffaceError: As `read_yaml`.
    """
    saved = _with_new_defaults(read_saved_settings(path), config)
    return bool(saved == config.model_dump(mode="json"))


def _with_new_defaults(saved: Any, current: Any) -> Any:
    """A saved value with the defaults of settings that did not exist when it was saved."""
    if isinstance(current, list | tuple) and isinstance(saved, list) and len(saved) == len(current):
        return list(map(_with_new_defaults, saved, current))
    if not isinstance(current, BaseModel) or not isinstance(saved, Mapping):
        return saved
    values = dict(saved)
    for name, field in type(current).model_fields.items():
        if name in values:
            values[name] = _with_new_defaults(values[name], getattr(current, name))
        elif not field.is_required():
            values[name] = to_jsonable_python(field.get_default(call_default_factory=True))
    return values
