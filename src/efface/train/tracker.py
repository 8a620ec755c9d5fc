"""Experiment trackers such as TensorBoard, through the tracker classes of accelerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from efface import distributed
from efface.errors import EffaceError
from efface.files.permissions import make_folder, settle
from efface.train.config import Tracker, TrainConfig

_PROJECT = "efface"

LogValues = Callable[[dict[str, float], int], None]
"""Logs scalars by name at an optimizer step."""


def check_tracker(name: Tracker | None) -> None:
    """Refuse a tracker that is not installed.

    Args:
        name: Value of `train.tracker`.

    Raises:
        EffaceError: The package of the tracker is missing.
    """
    if name is None:
        return
    from accelerate.tracking import get_available_trackers

    if name not in map(str, get_available_trackers()):
        raise EffaceError(f"train.tracker={name}: its package is not installed; pip install it, or leave it out")


@contextmanager
def tracking(config: TrainConfig, folder: Path, *, cpu: bool) -> Iterator[LogValues]:
    """Run the tracker that `config` names, in the main process, until the block ends.

    Args:
        config: Logged as hyperparameters; those of a group as `lora.r` and so on.
        folder: For the files of trackers that write any; TensorBoard writes to `folder/efface`.
        cpu: Whether training uses no GPU; accelerate must not look for one then.

    Yields:
        A function that logs the values of one step; it does nothing without a tracker and in the other processes.
    """
    if config.tracker is None or not distributed.is_main_process():
        yield lambda _values, _step: None
        return
    with _settled(folder):
        tracker = _start(config.tracker, folder, cpu=cpu)
        try:
            tracker.store_init_configuration(_flat(config.model_dump(mode="json", exclude_none=True)))
            yield lambda values, step: tracker.log(values, step=step)
        finally:
            tracker.finish()


@contextmanager
def _settled(folder: Path) -> Iterator[None]:
    """However the block ends, a tracker's files, which it creates by itself, get the mode of the run's other files."""
    try:
        yield
    finally:
        if folder.is_dir():
            settle(folder)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Trackers take single values: groups of settings with their name and a dot before each."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {name: value}
    return flat


def _start(name: Tracker, folder: Path, *, cpu: bool) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState(cpu=cpu)  # required by the loggers of the tracker classes
    tracker_class = LOGGER_TYPE_TO_CLASS[name]
    needs_folder = tracker_class.requires_logging_directory
    if needs_folder:
        make_folder(folder)  # private from the start: until training ends, it alone protects the files in it
    tracker = tracker_class(_PROJECT, str(folder)) if needs_folder else tracker_class(_PROJECT)
    tracker.start()
    return tracker
