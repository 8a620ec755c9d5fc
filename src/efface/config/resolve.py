"""The one place where a preset, a recipe, a YAML file and key=value pairs become a checked config. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.data_commands import DataInspectionConfig
from efface.config.parse import (
    Config,
    InvalidSettingError,
    merge_settings,
    parse_pairs,
    read_yaml,
    to_yaml,
    validate_config,
)
from efface.config.presets import Preset, load_preset, preset_names
from efface.config.trust import check_saved_code
from efface.data.config import SHORTHANDS
from efface.data.readers.file_formats import TABLE_SUFFIXES, TEXT_SUFFIXES, format_suffix
from efface.errors import EffaceError, suggest
from efface.objectives.config import plain_method

_PARTS_OF_A_RUN = (EvaluationConfig, DataInspectionConfig)
"""Configs that take a run's preset or config file, and ignore the settings that only a run has."""
SCHEMA_FILE = "efface.schema.json"
"""The name under which config files refer to the schema that `efface schema` prints."""
_PLACEHOLDERS = {"method": "me+gd", "model": "path/to/model"}
"""Settings that a run requires and a preset leaves open, with a value under which the rest can be checked."""


def resolve_config(
    config_class: type[Config],
    source: str | None = None,
    pairs: Sequence[str] = (),
    *,
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """The checked settings of a command.

    Later layers override earlier ones: the preset's settings for all methods, those of the recipe, those of the
    method, the config file, `settings`, and `pairs`. Paths are relative to the working directory, in a config file too.

    Args:
        config_class: The settings of the command. `RunConfig`, `FinetuneConfig` and those that share a run's settings
            may name a `preset` and a `recipe` in any layer.
        source: Name of a preset, or path of a YAML file.
        pairs: Settings from the command line, such as `train.lr=1e-5`.
        settings: Settings from Python, nested as in a config file.

    Returns:
        The config, with every default filled in.

    Raises:
        EffaceError: For an unknown preset, recipe, key or value, with the nearest valid name, and the config file if
            that has set it.
    """
    takes_all = config_class is DataInspectionConfig  # so that the words of a run can be checked as they are
    given = merge_settings(settings or {}, parse_pairs(pairs, RunConfig if takes_all else config_class))
    layered = _layer(config_class, source, given)
    if config_class in _PARTS_OF_A_RUN:
        kept = config_class.model_fields.keys() | (() if takes_all else given.keys())
        ignored = RunConfig.model_fields.keys() - kept
        layered = {key: value for key, value in layered.items() if key not in ignored}
    try:
        return validate_config(config_class, layered)
    except InvalidSettingError as error:
        if _depth(_read_source(source), error.keys) > _depth(given, error.keys):
            raise EffaceError(f"{source}: {error}") from error
        raise


def _depth(settings: Any, keys: Sequence[int | str]) -> int:
    """How many of the keys that lead to a setting are there: of two layers, the one with more has set it."""
    if not keys or not isinstance(settings, Mapping) or keys[0] not in settings:
        return 0
    return 1 + _depth(settings[keys[0]], keys[1:])


def preset_to_yaml(name: str, pairs: Sequence[str]) -> str:
    """A preset's settings for a run, as a config file with every default spelled out.

    Args:
        name: The preset.
        pairs: Settings such as `method=me+gd` or `recipe=published`.

    Returns:
        YAML text. Required settings that are still open are comments.

    Raises:
        EffaceError: As `resolve_config`.
    """
    preset = load_preset(name)
    layered = _layer(RunConfig, name, parse_pairs(pairs, RunConfig))
    unset = {key: placeholder for key, placeholder in _PLACEHOLDERS.items() if key not in layered}
    lines = to_yaml(validate_config(RunConfig, {**layered, **unset})).splitlines()
    for key, placeholder in unset.items():
        lines[lines.index(f"{key}: {placeholder}")] = f"# {key}: {placeholder}  # required; add yours"
    if "method" in unset and preset.methods:
        lines.insert(0, f"# Settings for all methods; method={', '.join(preset.methods)} adds specific ones")
    lines.insert(0, f"# yaml-language-server: $schema={SCHEMA_FILE}")  # `efface schema` writes it
    return "\n".join(lines) + "\n"


def _layer(config_class: type[BaseModel], source: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over the file or preset in `source`, over the preset that any of these names; not checked yet."""
    from_source = _read_source(source)
    if source is not None:
        check_saved_code(from_source, given, Path(source))
    settings = merge_settings(from_source, given)
    if config_class not in (RunConfig, FinetuneConfig, *_PARTS_OF_A_RUN):
        return settings
    name, recipe = settings.pop("preset", None), settings.pop("recipe", None)
    if name is not None:
        preset = load_preset(str(name))
        return merge_settings(
            _preset_settings(config_class, preset, str(recipe or "ours"), settings.get("method")), settings
        )
    if recipe is not None:
        raise EffaceError(f"recipe={recipe} chooses among a preset's settings; add preset=NAME or leave recipe out")
    return settings


def _preset_settings(config_class: type[BaseModel], preset: Preset, recipe: str, method: object) -> dict[str, Any]:
    """What the preset sets for a config of this class. Only a run's settings depend on the method."""
    if config_class is FinetuneConfig:
        return preset.finetune_settings(recipe=recipe)
    if config_class is EvaluationConfig:
        return preset.evaluation_settings(recipe=recipe)
    chosen = plain_method(str(method)) if config_class is RunConfig and method is not None else None
    return preset.run_settings(recipe=recipe, method=chosen)


def _read_source(source: str | None) -> dict[str, Any]:
    """The settings that a preset's name or a config file gives. Raises `EffaceError` for anything else."""
    if source is None:
        return {}
    if source in preset_names():
        return {"preset": source}
    if source in SHORTHANDS:
        raise EffaceError(f"{source!r} is neither a preset nor a config file; to use this data, give data={source}")
    if format_suffix(Path(source)) in (*TABLE_SUFFIXES, *TEXT_SUFFIXES):
        raise EffaceError(f"{source} is not a config file; to use this data, give data.forget={source}")
    if Path(source).suffix not in (".yaml", ".yml") and not Path(source).exists():
        raise EffaceError(f"{source!r} is neither a preset nor a config file; {suggest(source, preset_names())}")
    return read_yaml(Path(source))
