"""Ready settings by name: YAML files beside this module. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from efface.errors import EffaceError, nearest
from efface.run.config import FinetuneConfig, RunConfig, merge, parse_pairs, read_yaml, validated


class Preset(BaseModel):
    """A benchmark's settings, and per recipe and method what is added to them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    base: dict[str, Any]
    """Settings of every run."""
    ours: dict[str, dict[str, Any]]
    """Method -> settings found by our own search; `all` holds for every method."""
    published: dict[str, dict[str, Any]]
    """Method -> settings of the published runs; `all` holds for every method."""
    finetune: dict[str, Any]
    """Settings of `efface finetune` for this benchmark's target model."""

    def settings(self, *, recipe: str, method: str) -> dict[str, Any]:
        """Settings for one method under `ours` or `published`; an unknown method brings none of its own."""
        recipes = {"ours": self.ours, "published": self.published}
        if recipe not in recipes:
            raise EffaceError(f"unknown recipe {recipe!r}; {nearest(recipe, recipes)}")
        chosen = recipes[recipe]
        return merge(merge(self.base, chosen.get("all", {})), chosen.get(method.lower(), {}))

    def fine_tuning(self) -> dict[str, Any]:
        """Settings for making the target model."""
        shared = {key: value for key, value in self.base.items() if key in ("data", "text")}
        return merge(shared, self.finetune)


def preset_names() -> list[str]:
    """All presets, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in files(__name__).iterdir() if path.name.endswith(".yaml"))


def preset(name: str) -> Preset:
    """A preset by name. Raises `EffaceError` for an unknown one."""
    if name not in preset_names():
        raise EffaceError(f"unknown preset {name!r}; {nearest(name, preset_names())}")
    return Preset.model_validate(yaml.safe_load(files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")))


def run_config(source: str, pairs: Sequence[str]) -> RunConfig:
    """The settings of a run from a preset's name or a YAML file, overridden by `key=value` pairs.

    Later wins: the preset's settings, those for the recipe, those for the method, the file's own, the pairs.
    Raises `EffaceError` with the nearest right name for an unknown preset, key or value.
    """
    own = merge(_read(source), parse_pairs(pairs, RunConfig))
    base = own.pop("preset", None)
    if base is not None:
        recipe, method = str(own.get("recipe", "ours")), str(own.get("method", ""))
        own = merge(preset(str(base)).settings(recipe=recipe, method=method), own)
    return validated(RunConfig, own)


def finetune_config(source: str, pairs: Sequence[str]) -> FinetuneConfig:
    """The settings of a fine-tuning: a preset's data and format or a YAML file, overridden by pairs."""
    own = merge(_read(source), parse_pairs(pairs, FinetuneConfig))
    base = own.pop("preset", None)
    if base is not None:
        own = merge(preset(str(base)).fine_tuning(), own)
    return validated(FinetuneConfig, own)


def _read(source: str) -> dict[str, Any]:
    if source in preset_names():
        return {"preset": source}
    if Path(source).suffix not in (".yaml", ".yml") and not Path(source).exists():
        raise EffaceError(f"{source!r} is neither a preset nor a config file; {nearest(source, preset_names())}")
    return read_yaml(Path(source))
