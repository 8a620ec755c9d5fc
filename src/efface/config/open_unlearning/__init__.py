"""The configuration of a run of open-unlearning -> the settings of efface that do the same. No torch."""

from efface.config.open_unlearning.command import convert_command
from efface.config.open_unlearning.configs import compose_config
from efface.config.open_unlearning.convert import Converted, convert

__all__ = ["Converted", "compose_config", "convert", "convert_command"]
