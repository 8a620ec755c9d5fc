"""The terms of an objective: what each reads, which tokens or sequences it sums over, and how it averages.

The value of a term is the sum of its losses divided by their number in the whole optimizer batch, so it does not
depend on how the batch is split into micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from efface.errors import EffaceError
from efface.objectives.config import Average, StateAverage
from efface.packing.layers import LayerPositions
from efface.packing.padded_rows import StatePositions
from efface.text.sequence import Positions, TokenizedSequence

View = Literal["forget", "forget_idk", "retain", "retain_idk", "forget_mismatch", "forget_alternate"]
"""The sequences of an item: `forget` is a question of the forget set and its answer, `forget_idk` the same question
and a refusal; `retain` and `retain_idk` are the same for the retain set; `forget_mismatch` is the forget question and
the answer of another item, `forget_alternate` the forget question and another answer to it."""
Views = Mapping[View, Sequence[TokenizedSequence]]


class ReferenceDistribution(Protocol):
    """Next-token distributions of the reference model."""

    def hidden_states(self, sequences: Sequence[TokenizedSequence], positions: StatePositions) -> Tensor:
        """Return last hidden states [N, H] at the selected positions, sequence by sequence, on the training device."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits [N, V] of hidden states [N, H]."""
        ...


class SequenceLogprobs(Protocol):
    """Log p(answer | question) of sequences under the reference model."""

    def __call__(self, sequences: Sequence[TokenizedSequence]) -> Sequence[float]:
        """Return one number for each sequence: the sum over the tokens of its answer."""
        ...


@dataclass(frozen=True)
class Reference:
    """What the terms of an objective need from the reference model; None if no term needs it."""

    sequence_logprobs: SequenceLogprobs | None = None
    distribution: ReferenceDistribution | None = None


@dataclass(frozen=True)
class TokenTerm:
    """A loss of the log-probability [N] of each answer token of one view."""

    view: View
    loss: Callable[[Tensor], Tensor]
    """From log-probabilities [N] to losses [N]."""

    @property
    def views(self) -> tuple[View, ...]:
        """The views that it reads."""
        return (self.view,)


@dataclass(frozen=True)
class SequenceTerm:
    """A loss of the summed answer log-probabilities [B] of one or more views, item by item."""

    views: tuple[View, ...]
    loss: Callable[..., Tensor]
    """From one [B] for each view, and then, if `reference`, those of the reference model, and then, if `lengths`, the
    number of answer tokens for each view, to losses [B]."""
    reference: bool
    """Whether the loss also takes the log-probabilities of the reference model."""
    lengths: bool = False
    """Whether the loss also takes the lengths of the answers."""


@dataclass(frozen=True)
class DistributionTerm:
    """A loss of the next-token logits [N, V] of one view."""

    view: View
    loss: Callable[..., Tensor]
    """From logits [N, V], and then, if `reference`, those of the reference model, and then, if `targets` or
    `repeated`, token ids [N], to losses [N]."""
    positions: Positions
    reference: bool
    """Whether the loss also takes the logits of the reference model."""
    targets: bool = False
    """Whether the loss also takes the ids of the tokens that are predicted."""
    repeated: View | None = None
    """The loss also takes the ids of this view's answer without its end, repeated to the number of positions."""
    repeated_text: str | None = None
    """What takes the place of the answers of `repeated`; None for these."""
    skip: int = 0
    """How many positions at the start of each sequence do not count."""
    own: bool = False
    """Whether the logits are those at the tokens themselves, not where these are predicted."""
    average: Average = "tokens"
    padded_length: int | None = None
    """L, row length in tokens of the published code's padding, for `average: padded`."""
    last_position: bool = False
    """Whether the last of the L positions of a padded row counts, which predicts no token of it."""

    @property
    def views(self) -> tuple[View, ...]:
        """The views that it reads; of the second, only the token ids."""
        return (self.view,) if self.repeated is None else (self.view, self.repeated)

    @property
    def row_length(self) -> int | None:
        """L where the term reads padded rows, padding included; None where it reads the sequences alone."""
        return self.padded_length if self.average == "padded" else None

    @property
    def reads(self) -> StatePositions:
        """The positions whose hidden states the term needs."""
        return self.positions if self.row_length is None else "row"

    @property
    def row_positions(self) -> int:
        """The number of positions of a padded row that the term sums over."""
        assert self.padded_length is not None
        return self.padded_length if self.last_position else self.padded_length - 1


@dataclass(frozen=True)
class StateTerm:
    """A loss of the outputs [N, H] of one decoder layer at the tokens of one view."""

    view: View
    loss: Callable[..., Tensor]
    """From states [N, H], and then, if `reference`, those of the reference model, to losses [N]."""
    reads: LayerPositions
    reference: bool
    """Whether the loss also takes the states of the reference model."""
    average: StateAverage = "tokens"

    @property
    def views(self) -> tuple[View, ...]:
        """The views that it reads."""
        return (self.view,)


Term = TokenTerm | SequenceTerm | DistributionTerm | StateTerm


@dataclass(frozen=True)
class Objective:
    """A method with its settings: loss = forget_coeff * sum of forget terms + retain_coeff * sum of retain terms."""

    name: str
    forget: tuple[Term, ...]
    retain: tuple[Term, ...]
    forget_coeff: float = 1.0
    retain_coeff: float = 1.0

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, forget terms first."""
        return (*self.forget, *self.retain)

    @property
    def views(self) -> tuple[View, ...]:
        """The views that at least one term reads; others are neither tokenized nor computed."""
        return tuple(dict.fromkeys(view for term in self.terms for view in term.views))

    @property
    def fixed_answers(self) -> Mapping[View, str]:
        """The views whose answers are all the same, and this answer."""
        terms = (term for term in self.terms if isinstance(term, DistributionTerm))
        return {term.repeated: term.repeated_text for term in terms if term.repeated and term.repeated_text}

    @property
    def sequence_reference_views(self) -> tuple[View, ...]:
        """The views whose log-probabilities under the reference model are needed."""
        terms = (term for term in self.terms if isinstance(term, SequenceTerm) and term.reference)
        return tuple(dict.fromkeys(view for term in terms for view in term.views))

    @property
    def distribution_reference_views(self) -> tuple[tuple[View, StatePositions], ...]:
        """The views whose hidden states under the reference model are needed, each with the positions."""
        terms = (term for term in self.terms if isinstance(term, DistributionTerm | StateTerm) and term.reference)
        return tuple(dict.fromkeys((term.view, term.reads) for term in terms))

    @property
    def row_lengths(self) -> Mapping[View, int]:
        """The views that a term reads as padded rows, and the length of their rows.

        Raises:
            EffaceError: two terms read one view in rows of different lengths.
        """
        lengths: dict[View, int] = {}
        for term in self.terms:
            length = term.row_length if isinstance(term, DistributionTerm) else None
            if length is not None and lengths.setdefault(term.views[0], length) != length:
                raise EffaceError(
                    f"method {self.name} pads the view {term.views[0]} to {lengths[term.views[0]]} and to {length} "
                    "tokens; give both losses one padded_length"
                )
        return lengths

    @property
    def needs_distribution(self) -> bool:
        """Whether some term needs hidden states of the reference model."""
        return bool(self.distribution_reference_views)

    @property
    def layers(self) -> tuple[int, ...]:
        """The decoder layers whose outputs some terms read, counted from 0."""
        return tuple(dict.fromkeys(term.reads.layer for term in self.terms if isinstance(term, StateTerm)))

    @property
    def last_layer(self) -> int | None:
        """The last layer that the loss depends on, where it ends inside the model; else None."""
        inside = all(isinstance(term, StateTerm) for term in self.terms)
        return max(self.layers) if inside and self.terms else None


def count_loss_tokens(term: DistributionTerm | StateTerm | TokenTerm, item: TokenizedSequence) -> int:
    """Return the number of tokens of an item over which the loss of a term is summed.

    Args:
        term: a term of the objective whose loss is summed over tokens.
        item: a sequence of the view that it reads.

    Returns:
        The number of tokens, which may be 0.
    """
    if isinstance(term, TokenTerm):
        return item.answer_length
    if isinstance(term, StateTerm):
        return item.answer_length if term.reads.positions == "answer" else len(item)
    if term.row_length is not None:
        return term.row_positions
    tokens = item.answer_length if term.positions == "answer" else len(item) - 1 + term.own
    return max(0, tokens - term.skip)


def divisors(term: Term, views: Views, *, micro_batch_size: int | None = None) -> list[float]:
    """Compute the number by which the summed loss of each sequence is divided.

    The loss of a token, distribution or state term is first summed over the tokens of a sequence; a sequence term has
    one loss for each sequence.

    Args:
        term: a term of the objective.
        views: the sequences of the whole optimizer batch, item by item.
        micro_batch_size: average over each so many consecutive items, and then over these averages, as in the published
            code; None averages over the whole batch at once.

    Returns:
        One number for each item.
    """
    items = views[term.views[0]]
    size = micro_batch_size or len(items)
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    return [len(parts) * divisor for part in parts for divisor in _divisors(term, part)]


def _divisors(term: Term, items: Sequence[TokenizedSequence]) -> list[float]:
    """The same for items that are averaged at once; where no token counts, the loss is 0 over any divisor."""
    if isinstance(term, SequenceTerm):
        return [float(len(items))] * len(items)
    tokens = [count_loss_tokens(term, item) for item in items]
    average = "tokens" if isinstance(term, TokenTerm) else term.average
    if average == "sequences":
        return [float(max(1, count) * len(items)) for count in tokens]
    if average == "broadcast":
        return [len(items) ** 2 / sum(1 / count for count in tokens)] * len(items)
    return [float(max(1, sum(tokens)))] * len(items)
