"""Load a preset by name, and layer its settings: base, recipe, method."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from pydantic import Field

from efface.config.parse import merge_settings
from efface.errors import EffaceError, suggest
from efface.files.safe_yaml import parse_own_yaml
from efface.frozen import FrozenModel

_FOLDER = "efface.config.presets"
RECIPES = ("ours", "published", "open-unlearning")
"""Sources of a preset's settings."""


class Preset(FrozenModel):
    """A benchmark's settings, and what each recipe and method adds to them."""

    about: str
    """One sentence for `efface presets`."""
    base: dict[str, Any]
    """Settings of every run."""
    ours: dict[str, dict[str, Any]] = Field(default={})
    """Method -> recommended settings; a comment in the YAML file gives the reason. `all` applies to every method."""
    published: dict[str, dict[str, Any]] = Field(default={})
    """Method -> settings of the published runs; `all` applies to every method."""
    open_unlearning: dict[str, dict[str, Any]] = Field(default={}, alias="open-unlearning")
    """Method -> settings of the same benchmark in open-unlearning; `all` applies to every method."""
    finetune: dict[str, Any]
    """Settings of `efface finetune` for this benchmark's target model."""
    finetune_published: dict[str, Any] = Field(default={})
    """What the published target model was trained with instead."""
    finetune_open_unlearning: dict[str, Any] = Field(default={})
    """What the target models of open-unlearning were trained with instead."""

    @property
    def recipes(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Recipe -> method -> settings; the recipes that this preset has."""
        others = {"published": self.published, "open-unlearning": self.open_unlearning}
        return {"ours": self.ours, **{name: settings for name, settings in others.items() if settings}}

    @property
    def methods(self) -> list[str]:
        """Methods for which this preset has specific settings."""
        methods = dict.fromkeys(method for settings in self.recipes.values() for method in settings)
        return [method for method in methods if method != "all"]

    def run_settings(self, *, recipe: str, method: str | None) -> dict[str, Any]:
        """The settings of a run.

        Args:
            recipe: `ours`, `published` or `open-unlearning`.
            method: Plain name of the method; None, or a method without an entry, gets the settings for all methods.

        Returns:
            Nested settings, as in a config file.

        Raises:
            EffaceError: For an unknown recipe, and for one that the preset does not have.
        """
        if recipe not in RECIPES:
            raise EffaceError(f"unknown recipe {recipe!r}; {suggest(recipe, RECIPES)}")
        if recipe not in self.recipes:
            raise EffaceError(f"recipe={recipe}: this preset has no {recipe} settings; leave recipe out")
        chosen = self.recipes[recipe]
        return merge_settings(merge_settings(self.base, chosen.get("all", {})), chosen.get(method or "all", {}))

    def finetune_settings(self, *, recipe: str) -> dict[str, Any]:
        """The settings for fine-tuning the target model: data and text format of a run, with separate training.

        Recipe, result and errors are those of `run_settings`.
        """
        run = self.evaluation_settings(recipe=recipe)
        shared = {key: value for key, value in run.items() if key in ("data", "text")}
        others = {"published": self.finetune_published, "open-unlearning": self.finetune_open_unlearning}
        return merge_settings(merge_settings(shared, self.finetune), others.get(recipe, {}))

    def evaluation_settings(self, *, recipe: str) -> dict[str, Any]:
        """The settings of a run, except `data.refusals`, which only training reads.

        Recipe, result and errors are those of `run_settings`.
        """
        run = self.run_settings(recipe=recipe, method=None)
        if isinstance(run.get("data"), dict):
            run["data"] = {key: value for key, value in run["data"].items() if key != "refusals"}
        return run


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in files(_FOLDER).iterdir() if path.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """A preset by name.

    Args:
        name: One of `preset_names`.

    Returns:
        The preset, merged with the one that it `extends`.

    Raises:
        EffaceError: For an unknown name.
    """
    if name not in preset_names():
        raise EffaceError(f"unknown preset {name!r}; {suggest(name, preset_names())}")
    return Preset.model_validate(_read(name))


def _read(name: str) -> dict[str, Any]:
    """A preset's YAML file, merged over the one that it `extends`."""
    content: dict[str, Any] = parse_own_yaml(files(_FOLDER).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    extended = content.pop("extends", None)
    return content if extended is None else merge_settings(_read(extended), content)
