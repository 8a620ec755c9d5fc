"""Data of unlearning tasks: TOFU, real people, synthetic authors, a user's files. No torch."""

from efface.data.config import DataConfig, parse_data
from efface.data.load import load_task, load_training_set

__all__ = ["DataConfig", "load_task", "load_training_set", "parse_data"]
