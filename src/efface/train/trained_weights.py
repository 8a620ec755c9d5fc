"""Which weights of a model are trained."""

from __future__ import annotations

import re
from typing import Any

from efface.errors import EffaceError


def choose_trained(model: Any, pattern: str | None) -> None:
    """Freeze the weights that a training leaves alone.

    Args:
        model: Of transformers, without adapters if there is a pattern; changed.
        pattern: A regular expression that the whole name of a trained weight matches; None changes nothing.

    Raises:
        EffaceError: No weight has such a name.
    """
    if pattern is None:
        return
    chosen = {name for name, _ in model.named_parameters() if re.fullmatch(pattern, name)}
    if not chosen:
        first = next(name for name, _ in model.named_parameters())
        raise EffaceError(f"train.parameters={pattern!r} matches no weight of the model; its names are such as {first}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
