"""The end of a training on SIGTERM or SIGHUP: after a step, with a checkpoint of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from efface import distributed
from efface.termination import Terminated, requested


def end_if_requested(step: int, steps: int, model: Any, save: Callable[[int], None]) -> None:
    """End the command if a signal waits in any process. Every process must call this after each step.

    Args:
        step: The step that was made.
        steps: Of the whole training.
        model: The model that is trained.
        save: Writes a checkpoint of a step, completely.

    Raises:
        Terminated: A signal waits; says whether there is a checkpoint of the step.
    """
    if not any(distributed.all_gather(requested())):
        return
    done = f"after step {step} of {steps}"
    # otherwise the losses of the next step show that the weights are good
    if not all(distributed.all_gather(_is_finite(model))):
        raise Terminated(f"{done}, of which no checkpoint was written, for its weights are not finite")
    save(step)
    raise Terminated(f"{done}, whose checkpoint is complete")


def _is_finite(model: Any) -> bool:
    """Whether all trained weights that this process has are finite."""
    trained = (parameter.detach() for parameter in model.parameters() if parameter.requires_grad)
    local = (each.to_local() if hasattr(each, "to_local") else each for each in trained)
    return all(bool(each.isfinite().all()) for each in local)
