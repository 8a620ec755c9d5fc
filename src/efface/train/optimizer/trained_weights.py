"""Which weights of a model are trained."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.train.optimizer import name_matcher

_SECONDS = 10 * name_matcher.CPU_SECONDS
"""Until the child process is stopped, on a machine that is busy."""


def choose_trained(model: Any, pattern: str | None) -> None:
    """Freeze the weights that a training leaves alone.

    Args:
        model: Of transformers, without adapters if there is a pattern; changed.
        pattern: A regular expression that the whole name of a trained weight matches; None changes nothing.

    Raises:
        EffaceError: No weight has such a name, or the names take the regular expression too long.
    """
    if pattern is None:
        return
    names = tuple(name for name, _ in model.named_parameters())
    chosen = _matching(pattern, names)
    if not chosen:
        raise EffaceError(
            f"train.parameters={pattern!r} matches no weight of the model; its names are such as {names[0]}"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)


@functools.lru_cache(maxsize=4)
def _matching(pattern: str, names: tuple[str, ...]) -> frozenset[str]:
    """The names that a regular expression matches completely, found by a child process with limits."""
    child = [sys.executable, "-I", str(Path(name_matcher.__file__))]
    task = json.dumps([pattern, names]).encode()
    try:
        ended = subprocess.run(child, input=task, timeout=_SECONDS, capture_output=True, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise EffaceError(
            f"train.parameters={pattern!r} takes more than {name_matcher.CPU_SECONDS} s or {name_matcher.MEMORY_MIB} "
            "MiB to compare with the names of the weights; write it without a repetition in a repetition, such as (a+)+"
        ) from error
    return frozenset(json.loads(ended.stdout))
