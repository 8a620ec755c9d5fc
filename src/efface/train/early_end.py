"""The end of a training before its last step: on SIGTERM or SIGHUP, or where one of several processes has no memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from efface import distributed
from efface.files.atomic import atomic_file
from efface.termination import Terminated, requested
from efface.train.batches.token_budget import TokenBudget
from efface.train.distribution.shards import local_part

REDUCED_BUDGET = "token_budget.json"
"""In the checkpoints' folder: the token budget to resume with after one of several processes ran out of memory."""


def stop_with_reduced_budget(folder: Path, budget: TokenBudget) -> NoReturn:
    """End this process: the others wait in the middle of the step, which no process can repeat alone.

    Args:
        folder: Of the checkpoints.
        budget: Already reduced, to resume with.

    Raises:
        DistributedError: Always.
    """
    with atomic_file(folder / REDUCED_BUDGET) as partial:
        partial.write_text(json.dumps(budget.state_dict()), encoding="utf-8")
    raise distributed.DistributedError(
        f"process {distributed.rank()} of {distributed.world_size()} ran out of its GPU's memory; continue with "
        f"--resume, which computes at most {budget.tokens} tokens at once, or set train.max_tokens_per_forward lower"
    )


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
    local = map(local_part, trained)
    return all(bool(each.isfinite().all()) for each in local)
