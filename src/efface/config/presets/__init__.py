"""Presets: the settings of a benchmark under a name, one YAML file each. No torch."""

from efface.config.presets.presets import Preset, load_preset, preset_names

__all__ = ["Preset", "load_preset", "preset_names"]
