"""The settings of data -> a task: forget set, retain set and evaluation sets. No torch."""

from efface.data.config import DataConfig, parse_data
from efface.data.load import load_task, load_training_set

__all__ = ["DataConfig", "load_task", "load_training_set", "parse_data"]
