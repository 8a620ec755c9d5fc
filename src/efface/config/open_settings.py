"""Settings of a run that a user leaves open and the run fills in, from the size of its model. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from efface.config.commands import RunConfig
from efface.config.size_defaults import KEYS


def is_set(config: RunConfig, key: str) -> bool:
    """Whether a setting was given.

    Args:
        config: The settings.
        key: Dotted, such as `train.lr`; `train.max_steps` gives `train.epochs` as well.
    """
    group, _, name = key.rpartition(".")
    given = (getattr(config, group) if group else config).model_fields_set
    return name in given or (key == "train.epochs" and config.train.max_steps is not None)


def with_values(config: RunConfig, values: Mapping[str, object]) -> RunConfig:
    """The settings with other values of some.

    Args:
        config: The settings.
        values: Dotted key -> valid value.
    """
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        update = {group: getattr(config, group).model_copy(update={name: value})} if group else {name: value}
        config = config.model_copy(update=update)
    return config


def as_saved(config: RunConfig, saved: Mapping[str, Any]) -> RunConfig:
    """The settings with saved values of those that follow from the size of the model, where they are open.

    Args:
        config: The settings.
        saved: Nested settings of a config.yaml.
    """
    values = {}
    for key in KEYS:
        group, _, name = key.rpartition(".")
        of_group = saved.get(group) if group else saved
        if not is_set(config, key) and isinstance(of_group, Mapping) and name in of_group:
            values[key] = of_group[name]
    return with_values(config, values)
