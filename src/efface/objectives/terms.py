"""What an objective is made of: terms that say what they read, what they count and by what they are divided.

A term's value is (sum over its units of a loss) / (their number in the whole optimizer batch), so it does not
depend on how the batch is cut into micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from efface.objectives.config import Average
from efface.text.formatter import Positions, TokenizedSequence

View = Literal["forget", "forget_idk", "retain", "retain_idk", "forget_mismatch"]
"""Question and answer to forget; the same question and a refusal; the same two for a retain item; a forget
question with another item's answer."""
Views = Mapping[View, Sequence[TokenizedSequence]]


class Distribution(Protocol):
    """The model before unlearning, asked for whole next-token distributions."""

    def rows(self, sequences: Sequence[TokenizedSequence], positions: Positions) -> Tensor:
        """Its last hidden states [N, H] where `positions` reads, sequence by sequence, on the device of training."""
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """Its logits [N, V] of hidden states [N, H]."""
        ...


class SequenceLogprobs(Protocol):
    """The model before unlearning, asked for log p(answer | question) of whole sequences."""

    def __call__(self, sequences: Sequence[TokenizedSequence]) -> Sequence[float]:
        """One number per sequence: the sum over the answer's tokens."""
        ...


@dataclass(frozen=True)
class Reference:
    """What the objectives may ask of the model before unlearning; None where no term asks for it."""

    sequences: SequenceLogprobs | None = None
    distribution: Distribution | None = None


@dataclass(frozen=True)
class TokenTerm:
    """A loss of the log-probability [N] of each answer token of one view."""

    view: View
    loss: Callable[[Tensor], Tensor]

    @property
    def views(self) -> tuple[View, ...]:
        """The views it reads."""
        return (self.view,)


@dataclass(frozen=True)
class SequenceTerm:
    """A loss of the summed answer log-probabilities [B] of one or more views, item by item.

    `loss` takes one [B] per view, then, if `reference`, the reference's in the same order.
    """

    views: tuple[View, ...]
    loss: Callable[..., Tensor]
    reference: bool


@dataclass(frozen=True)
class DistributionTerm:
    """A loss of the next-token logits [N, V] of one view, and of the reference's if `reference`."""

    view: View
    loss: Callable[..., Tensor]
    positions: Positions
    reference: bool
    average: Average = "tokens"
    padded_length: int | None = None
    """Row length of the published code's padding, for `average: padded`."""

    @property
    def views(self) -> tuple[View, ...]:
        """The views it reads."""
        return (self.view,)


Term = TokenTerm | SequenceTerm | DistributionTerm


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
        """All terms, forget first."""
        return (*self.forget, *self.retain)

    @property
    def views(self) -> tuple[View, ...]:
        """The views that some term reads; no other is tokenized or forwarded."""
        return tuple(dict.fromkeys(view for term in self.terms for view in term.views))

    @property
    def sequence_reference_views(self) -> tuple[View, ...]:
        """Views whose sequences need a log-probability under the reference."""
        terms = (term for term in self.terms if isinstance(term, SequenceTerm) and term.reference)
        return tuple(dict.fromkeys(view for term in terms for view in term.views))

    @property
    def distribution_reads(self) -> tuple[tuple[View, Positions], ...]:
        """Views whose sequences need the reference's distribution, and at which of their tokens."""
        terms = (term for term in self.terms if isinstance(term, DistributionTerm) and term.reference)
        return tuple(dict.fromkeys((term.view, term.positions) for term in terms))

    @property
    def needs_distribution(self) -> bool:
        """Whether some term compares with the reference's whole distribution."""
        return bool(self.distribution_reads)


def counted_tokens(term: DistributionTerm | TokenTerm, item: TokenizedSequence) -> int:
    """How many of an item's tokens the term counts."""
    if isinstance(term, DistributionTerm) and term.positions == "all":
        return len(item) - 1
    return len(item.answer)


def divisors(term: Term, views: Views) -> list[float]:
    """By what each sequence's summed loss is divided, given the views of the whole optimizer batch.

    Token terms sum over a sequence's tokens first; sequence terms have one unit per sequence.
    """
    items = views[term.views[0]]
    if isinstance(term, SequenceTerm):
        return [float(len(items))] * len(items)
    tokens = [counted_tokens(term, item) for item in items]
    average = term.average if isinstance(term, DistributionTerm) else "tokens"
    if average == "tokens":
        return [float(sum(tokens))] * len(items)
    if average == "sequences":
        return [float(count * len(items)) for count in tokens]
    assert isinstance(term, DistributionTerm)
    assert term.padded_length is not None
    return [float((term.padded_length - 1) * len(items))] * len(items)
