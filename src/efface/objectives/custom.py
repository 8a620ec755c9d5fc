"""Custom objectives: a user-defined class that returns a term. Importing this needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from efface.errors import EffaceError, summarize_error
from efface.objectives.config import Average, ObjectiveConfig
from efface.text.sequence import Positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from efface.objectives.terms import Objective, Term

_SAMPLES = 3
"""The number of made-up tokens, sequences or positions on which a loss is tried."""


class CustomObjective(ABC):
    """The common base of `ForgetObjective` and `RetainObjective`; derive from one of these."""

    name: ClassVar[str]
    """The name in a method: lower-case letters, digits, `-` and `_`, and not that of a built-in objective."""

    @abstractmethod
    def term(self, config: ObjectiveConfig) -> Term:
        """Return the loss and what it reads: a `TokenTerm`, `SequenceTerm` or `DistributionTerm`.

        The training step sums the losses and divides them by their number in the whole optimizer batch. So the `loss`
        of the term must not average: it returns one number for each input row. Rows must not depend on each other,
        because they come in chunks of any size. Log-probabilities are natural logs in float32.

        Args:
            config: the settings of the run, such as `beta` and the coefficients.
        """
        ...


class ForgetObjective(CustomObjective):
    """A custom loss on the forget set, before the plus of a method: `capped+gd`, or `capped` alone.

    A class without constructor arguments, loaded with `plugins=`:

        class Capped(efface.ForgetObjective):
            name = "capped"

            def term(self, config):
                return efface.TokenTerm("forget", lambda logp_N: (logp_N - math.log(0.01)).clamp(min=0))

    Training minimizes the loss, so the log-probability of an answer as the loss makes that answer less likely.
    """


class RetainObjective(CustomObjective):
    """A custom loss on the retain set, after the plus of a method: `me+custom`. Otherwise like `ForgetObjective`."""


def custom_term(objective: CustomObjective, config: ObjectiveConfig) -> Term:
    """Return the term of a custom objective after the checks that do not need a model.

    Args:
        objective: an instance of a user-defined class.
        config: the settings of the run.

    Raises:
        EffaceError: the method `term` fails, returns something else, or its term reads unknown views.
    """
    from efface.objectives.terms import DistributionTerm, SequenceTerm, TokenTerm, View

    label = f"objective {objective.name!r}"
    try:
        term = objective.term(config)
    except Exception as error:  # user code may raise anything
        raise EffaceError(f"{label}: its method term failed ({summarize_error(error)}); correct it") from error
    if not isinstance(term, TokenTerm | SequenceTerm | DistributionTerm):
        raise EffaceError(
            f"{label}: its method term returned {type(term).__name__}; return a TokenTerm, a SequenceTerm or a "
            "DistributionTerm"
        )
    if not isinstance(term.views, tuple) or not term.views or not set(term.views) <= set(get_args(View)):
        raise EffaceError(f"{label} reads {term.views!r}; allowed are one or more of {', '.join(get_args(View))}")
    if isinstance(term, DistributionTerm):
        _check_averaging(label, term.positions, term.average, term.padded_length)
    return term


def _check_averaging(label: str, positions: str, average: str, padded_length: int | None) -> None:
    for name, value, allowed in (("positions", positions, Positions), ("average", average, Average)):
        if value not in get_args(allowed):
            raise EffaceError(f"{label}: {name}={value!r}; allowed: {', '.join(get_args(allowed))}")
    if average == "padded" and padded_length is None:
        raise EffaceError(f"{label}: average='padded' needs padded_length, such as 500")
    if average == "padded" and positions != "all":
        raise EffaceError(f"{label}: average='padded' reads every position of a row; give positions='all'")


def check_custom_objective(objective: Objective, *, vocabulary: int, device: torch.device) -> None:
    """Compute each loss of an objective once on a few deterministic inputs, to find mistakes before training.

    Without this check a mistake would only appear after the model was evaluated, or never.

    Args:
        objective: the objective of a method with custom terms.
        vocabulary: V, the number of logits of each position.
        device: the device of the run.

    Raises:
        EffaceError: a loss fails, does not return one finite number for each row, or has no gradient.
    """
    from efface.objectives.terms import StateTerm

    for side, terms in (("forget", objective.forget), ("retain", objective.retain)):
        for term in terms:
            if isinstance(term, StateTerm):  # no custom objective has one
                continue
            label = f"method {objective.name}, {side} loss"
            try:
                loss = term.loss(*_sample_inputs(term, vocabulary, device))
            except Exception as error:  # user code may raise anything
                raise EffaceError(
                    f"{label}: it failed on {_SAMPLES} rows ({summarize_error(error)}); correct it"
                ) from error
            _check_loss(label, loss)


def _sample_inputs(term: Term, vocabulary: int, device: torch.device) -> list[Tensor]:
    """Inputs of a loss for `_SAMPLES` rows, with the shapes of those in `efface.objectives.compute`."""
    import torch

    from efface.objectives.terms import DistributionTerm, SequenceTerm

    rows = torch.linspace(-3, -0.1, _SAMPLES, device=device)
    if isinstance(term, DistributionTerm):
        rows = torch.arange(_SAMPLES * vocabulary, device=device).reshape(_SAMPLES, vocabulary).sin()
    count = len(term.views) if isinstance(term, SequenceTerm) else 1
    inputs = [(rows - n).requires_grad_() for n in range(count)]
    references = [rows / 2 - n for n in range(count)] if getattr(term, "reference", False) else []
    more = []
    if isinstance(term, SequenceTerm) and term.lengths:
        more = [torch.full_like(rows, 2 + n) for n in range(count)]
    elif isinstance(term, DistributionTerm) and (term.targets or term.repeated is not None):
        more = [torch.arange(_SAMPLES, device=device) % vocabulary]
    return [*inputs, *references, *more]


def _check_loss(label: str, loss: Any) -> None:
    import torch

    if not isinstance(loss, torch.Tensor) or loss.shape != (_SAMPLES,):
        returned = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise EffaceError(
            f"{label}: it returned {returned} for {_SAMPLES} rows; return one number for each row, shape "
            f"[{_SAMPLES}] (the training step averages)"
        )
    if not loss.requires_grad:
        raise EffaceError(f"{label}: no gradient reaches the model; use detach() only on a part of the loss")
    if not bool(loss.isfinite().all()):
        raise EffaceError(f"{label}: it is not finite for ordinary input ({loss.tolist()}); correct the formula")
