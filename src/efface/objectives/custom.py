"""An objective of the user's own: a small class that gives a term. No torch until one is used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from efface.errors import EffaceError, summarize_error
from efface.objectives.config import Average, ObjectiveConfig
from efface.text.formatter import Positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from efface.objectives.terms import Objective, Term

_ROWS = 3
"""How many made-up tokens, sequences or positions a loss is tried on."""


class CustomObjective(ABC):
    """What `ForgetObjective` and `RetainObjective` share; derive from one of these."""

    name: ClassVar[str]
    """What a method calls it: lower-case letters, digits, `-` and `_`, and no name of a built-in objective."""

    @abstractmethod
    def term(self, config: ObjectiveConfig) -> Term:
        """The loss, and what it reads: a `TokenTerm`, `SequenceTerm` or `DistributionTerm`.

        Losses are summed and divided by the number of their units in the whole optimizer batch, so the term's
        `loss` must not average: it gives one number for each row it is given, and no row may depend on another,
        for rows come in pieces of any size. Log-probabilities are natural logs, in float32. `config` holds the
        run's `beta`, coefficients and so on, for whom they are of use.
        """
        ...


class ForgetObjective(CustomObjective):
    """What makes a model forget, in front of the plus of a method: `wga+gd`, or `wga` alone.

    A class without arguments, found by `plugins=`:

        class WGA(efface.ForgetObjective):
            name = "wga"

            def term(self, config):
                return efface.TokenTerm("forget", lambda logp_N: logp_N.detach().exp() * logp_N)

    The model is trained to make the loss small, so what lowers an answer's probability is the log-probability itself.
    """


class RetainObjective(CustomObjective):
    """What keeps the rest as it was, behind the plus of a method: `me+mine`. Otherwise as `ForgetObjective`."""


def custom_term(objective: CustomObjective, config: ObjectiveConfig) -> Term:
    """The term of a user's objective, checked as far as can be without a model.

    Raises `EffaceError` that names the objective for anything else than a term, and for one that reads what there
    is not.
    """
    from efface.objectives.terms import DistributionTerm, SequenceTerm, TokenTerm, View

    here = f"objective {objective.name!r}"
    try:
        term = objective.term(config)
    except Exception as error:  # the user's code raises what it likes
        raise EffaceError(f"{here}: its method term failed ({summarize_error(error)}); correct it") from error
    if not isinstance(term, TokenTerm | SequenceTerm | DistributionTerm):
        raise EffaceError(
            f"{here}: its method term gave {type(term).__name__}; let it return a TokenTerm, a SequenceTerm or a "
            "DistributionTerm"
        )
    if not isinstance(term.views, tuple) or not term.views or not set(term.views) <= set(get_args(View)):
        raise EffaceError(f"{here} reads {term.views!r}; allowed are one or more of {', '.join(get_args(View))}")
    if isinstance(term, DistributionTerm):
        _check_counting(here, term.positions, term.average, term.padded_length)
    return term


def _check_counting(here: str, positions: str, average: str, padded_length: int | None) -> None:
    for what, given, allowed in (("positions", positions, Positions), ("average", average, Average)):
        if given not in get_args(allowed):
            raise EffaceError(f"{here}: {what}={given!r}; allowed: {', '.join(get_args(allowed))}")
    if average == "padded" and padded_length is None:
        raise EffaceError(f"{here}: average='padded' needs padded_length, such as 500")


def check_custom_objective(method: Objective, *, vocabulary: int, device: torch.device) -> None:
    """Compute each loss of a method once on a few made-up rows, on the device and with the vocabulary of the run.

    Raises `EffaceError` where a loss fails, does not give one finite number a row, or does not depend on the model:
    a mistake that would otherwise show after the model was evaluated, or never.
    """
    for side, terms in (("forget", method.forget), ("retain", method.retain)):
        for term in terms:
            here = f"method {method.name}, {side} loss"
            try:
                loss = term.loss(*_random_inputs(term, vocabulary, device))
            except Exception as error:  # the user's code raises what it likes
                raise EffaceError(
                    f"{here}: it failed on {_ROWS} rows ({summarize_error(error)}); correct it"
                ) from error
            _check_loss(here, loss)


def _random_inputs(term: Term, vocabulary: int, device: torch.device) -> list[Tensor]:
    """Inputs of a loss for `_ROWS` rows, as `efface.objectives.compute` would give them."""
    import torch

    from efface.objectives.terms import DistributionTerm, SequenceTerm

    rows = torch.linspace(-3, -0.1, _ROWS, device=device)
    if isinstance(term, DistributionTerm):
        rows = torch.arange(_ROWS * vocabulary, device=device).reshape(_ROWS, vocabulary).sin()
    count = len(term.views) if isinstance(term, SequenceTerm) else 1
    inputs = [(rows - n).requires_grad_() for n in range(count)]
    references = [rows / 2 - n for n in range(count)] if getattr(term, "reference", False) else []
    return [*inputs, *references]


def _check_loss(here: str, loss: Any) -> None:
    import torch

    if not isinstance(loss, torch.Tensor) or loss.shape != (_ROWS,):
        given = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise EffaceError(
            f"{here}: it gave {given} for {_ROWS} rows; let it return one number a row, shape [{_ROWS}] (the step "
            "averages)"
        )
    if not loss.requires_grad:
        raise EffaceError(f"{here}: no gradient reaches the model; use detach() only on a part of the loss")
    if not bool(loss.isfinite().all()):
        raise EffaceError(f"{here}: it is not finite for ordinary input ({loss.tolist()}); correct the formula")
