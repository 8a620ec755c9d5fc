"""The name of a preset -> settings: YAML files in this folder."""

from efface.config.presets.presets import RECIPES, Preset, load_preset, preset_names

__all__ = ["RECIPES", "Preset", "load_preset", "preset_names"]
