"""The data set TOFU of the hub, as configurations of open-unlearning name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from efface.errors import EffaceError, suggest

_PATH = "locuslab/TOFU"
_SPLITS = ("forget01", "forget05", "forget10")
_SUBSETS = (
    *(*_SPLITS, "retain90", "retain95", "retain99", "holdout01", "holdout05", "holdout10", "full"),
    *("real_authors", "world_facts", *(f"{split}_perturbed" for split in _SPLITS)),
    *("retain_perturbed", "real_authors_perturbed", "world_facts_perturbed"),
)


def check_tofu_subset(hub: Mapping[str, Any], where: str) -> None:
    """Refuse a subset that TOFU does not have.

    Args:
        hub: What `datasets.load_dataset` gets, of any data set.
        where: The dotted name of the data set, for the message.

    Raises:
        EffaceError: There is no such subset; the message suggests the nearest.
    """
    name = hub.get("name")
    if hub.get("path") == _PATH and name is not None and name not in _SUBSETS:
        trained_on = [subset for subset in _SUBSETS if not subset.endswith("_perturbed")]
        raise EffaceError(
            f"{where}.args.hf_args.name={name}: there is no such subset of {_PATH}; {suggest(str(name), trained_on)}"
        )


def tofu_split(handler: object, hub: Mapping[str, Any]) -> str | None:
    """Which split a forget set is.

    Args:
        handler: The class that reads the data set.
        hub: As for `check_tofu_subset`.

    Returns:
        `forget01`, `forget05` or `forget10`; None where the forget set is something else.
    """
    name = str(hub.get("name"))
    plain = handler in ("QADataset", "QAwithIdkDataset")
    return name if plain and hub.get("path") == _PATH and name in _SPLITS else None
