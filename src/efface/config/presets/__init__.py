"""Ready settings by name: YAML files beside this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from efface.config.commands import DataInspectionConfig, EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import Config, merge_settings, parse_pairs, read_yaml, to_yaml, validate_config
from efface.data.config import SHORTHANDS
from efface.data.readers.file_formats import TABLE_SUFFIXES, TEXT_SUFFIXES, format_suffix
from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel
from efface.objectives.config import plain_method

_PLACEHOLDERS = {"method": "me+gd", "model": "path/to/model"}
"""What a run requires and no preset says, so that the rest can be checked and shown without it."""


class Preset(FrozenModel):
    """A benchmark's settings, and per recipe and method what is added to them."""

    about: str
    base: dict[str, Any]
    """Settings of every run."""
    ours: dict[str, dict[str, Any]] = Field(default={})
    """Method -> settings that we recommend, why is said beside them; `all` holds for every method."""
    published: dict[str, dict[str, Any]] = Field(default={})
    """Method -> settings of the published runs; `all` holds for every method."""
    finetune: dict[str, Any]
    """Settings of `efface finetune` for this benchmark's target model."""

    @property
    def methods(self) -> list[str]:
        """The methods that have settings of their own here."""
        return [method for method in self.ours | self.published if method != "all"]

    def settings(self, *, recipe: str, method: str | None) -> dict[str, Any]:
        """Settings for one method, or for all, under `ours` or `published`.

        A method without an entry gets those for all. Raises `EffaceError` for an unknown recipe, and where this
        preset has no published one.
        """
        recipes = {"ours": self.ours, "published": self.published}
        if recipe not in recipes:
            raise EffaceError(f"unknown recipe {recipe!r}; {suggest(recipe, recipes)}")
        if recipe == "published" and not self.published:
            raise EffaceError("recipe=published: this preset has no published settings; leave recipe out")
        chosen = recipes[recipe]
        return merge_settings(merge_settings(self.base, chosen.get("all", {})), chosen.get(method or "all", {}))

    def fine_tuning(self, *, recipe: str) -> dict[str, Any]:
        """Settings for making the target model: data and format as in the run, and its own training."""
        run = self.settings(recipe=recipe, method=None)
        return merge_settings({key: value for key, value in run.items() if key in ("data", "text")}, self.finetune)


def preset_names() -> list[str]:
    """All presets, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in files(__name__).iterdir() if path.name.endswith(".yaml"))


def preset(name: str) -> Preset:
    """A preset by name. Raises `EffaceError` for an unknown one."""
    if name not in preset_names():
        raise EffaceError(f"unknown preset {name!r}; {suggest(name, preset_names())}")
    return Preset.model_validate(_content(name))


def run_config(source: str | None, pairs: Sequence[str]) -> RunConfig:
    """The settings of a run from a preset's name or a YAML file (or neither), overridden by `key=value` pairs.

    Later wins: the preset's settings, those for the recipe, those for the method, the file's own, the pairs.
    Paths are relative to the working directory, in a file too. Raises `EffaceError` with the nearest right name
    for an unknown preset, recipe, key or value.
    """
    return validate_config(RunConfig, _settings(source, parse_pairs(pairs, RunConfig), _run_defaults))


def finetune_config(source: str | None, pairs: Sequence[str]) -> FinetuneConfig:
    """The settings of a fine-tuning, from the same sources and with the same errors as `run_config`."""

    def below(base: Preset, recipe: str, _: Mapping[str, Any]) -> dict[str, Any]:
        return base.fine_tuning(recipe=recipe)

    return validate_config(FinetuneConfig, _settings(source, parse_pairs(pairs, FinetuneConfig), below))


def evaluation_config(source: str | None, pairs: Sequence[str]) -> EvaluationConfig:
    """The settings of an evaluation, from the same sources and with the same errors as `run_config`.

    What a preset or file says about training means nothing here and is passed over.
    """
    return _from_run_settings(EvaluationConfig, source, pairs)


def data_inspection_config(source: str | None, pairs: Sequence[str]) -> DataInspectionConfig:
    """The settings of a look at the data, from the same sources and with the same errors as `run_config`.

    What a preset or file says about a run besides means nothing here and is passed over.
    """
    return _from_run_settings(DataInspectionConfig, source, pairs)


def config_from(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Settings from Python, nested as in a config file; `preset` and `recipe` may be among them.

    `kind`: `RunConfig`, or one whose settings are some of a run's: what the preset says besides is passed over. Same
    errors as `run_config`.
    """
    settings = _settings(None, values, _run_defaults)
    others = RunConfig.model_fields.keys() - kind.model_fields.keys() - values.keys()
    return validate_config(kind, {key: value for key, value in settings.items() if key not in others})


def resolved(name: str, pairs: Sequence[str]) -> str:
    """A preset's settings for a run as YAML, every default spelled out; what nobody has set yet is a comment.

    `pairs`: `method=`, `recipe=` and any other setting. The text is a config file for the same run. Raises
    `EffaceError` as `run_config` does.
    """
    base = preset(name)
    settings = _settings(name, parse_pairs(pairs, RunConfig), _run_defaults)
    unset = {key: stand_in for key, stand_in in _PLACEHOLDERS.items() if key not in settings}
    lines = to_yaml(validate_config(RunConfig, {**settings, **unset})).splitlines()
    for key, stand_in in unset.items():
        lines[lines.index(f"{key}: {stand_in}")] = f"# {key}: {stand_in}  # required; add yours"
    if "method" in unset and base.methods:
        lines.insert(0, f"# What all methods share; more comes with method={', '.join(base.methods)}")
    return "\n".join(lines) + "\n"


def _run_defaults(base: Preset, recipe: str, own: Mapping[str, Any]) -> dict[str, Any]:
    return base.settings(recipe=recipe, method=plain_method(str(own["method"])) if "method" in own else None)


def _from_run_settings(kind: type[Config], source: str | None, pairs: Sequence[str]) -> Config:
    """Settings of `kind`, whose keys are some of a run's: the others are checked in `pairs` alone, and dropped."""

    def below(base: Preset, recipe: str, _: Mapping[str, Any]) -> dict[str, Any]:
        return base.settings(recipe=recipe, method=None)

    settings = _settings(source, parse_pairs(pairs, kind), below)
    others = RunConfig.model_fields.keys() - kind.model_fields.keys()
    return validate_config(kind, {key: value for key, value in settings.items() if key not in others})


def _settings(
    source: str | None, pairs: Mapping[str, Any], below: Callable[[Preset, str, Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """The user's own settings, on top of what `below` takes from the preset that they name."""
    own = merge_settings(_read(source), pairs)
    name, recipe = own.pop("preset", None), own.pop("recipe", None)
    if name is not None:
        return merge_settings(below(preset(str(name)), str(recipe or "ours"), own), own)
    if recipe is not None:
        raise EffaceError(f"recipe={recipe} chooses among a preset's settings; add preset=NAME or leave recipe out")
    return own


def _content(name: str) -> dict[str, Any]:
    """A preset's file, on top of the one that it `extends`."""
    content: dict[str, Any] = yaml.safe_load(files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    extended = content.pop("extends", None)
    return content if extended is None else merge_settings(_content(extended), content)


def _read(source: str | None) -> dict[str, Any]:
    if source is None:
        return {}
    if source in preset_names():
        return {"preset": source}
    if source in SHORTHANDS:
        raise EffaceError(f"{source!r} is neither a preset nor a config file; to use this data, give data={source}")
    if format_suffix(Path(source)) in (*TABLE_SUFFIXES, *TEXT_SUFFIXES):
        raise EffaceError(f"{source} is no config file; to use this data, give data.forget={source}")
    if Path(source).suffix not in (".yaml", ".yml") and not Path(source).exists():
        raise EffaceError(f"{source!r} is neither a preset nor a config file; {suggest(source, preset_names())}")
    return read_yaml(Path(source))
