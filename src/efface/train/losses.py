"""`efface.losses`: the losses of a method on given token ids, computed as in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pydantic import ValidationError

from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference, View
from efface.packing.forward import vocabulary_size
from efface.packing.layers import check_layers
from efface.packing.padded_rows import pad
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import TrainingExample
from efface.train.step import Losses, batch_losses


class TokenIds(TypedDict):
    """One sequence: the ids of the prompt, and those of the answer, end-of-sequence token included."""

    prompt: Sequence[int]
    answer: Sequence[int]


def losses(
    model: Any,
    views: Mapping[str, Sequence[TokenIds]],
    method: str,
    *,
    beta: float = 0.1,
    reference: Any = None,
    max_tokens_per_forward: int | None = None,
    **options: Mapping[str, Any],
) -> Losses:
    """The unweighted forget and retain losses of a method.

    Args:
        model: A causal language model of transformers, of any dtype, on any device.
        views: `forget`, `forget_idk`, `forget_alternate`, `forget_mismatch`, `retain`, `retain_idk` as the method
            needs them, each a list of {"prompt": ids, "answer": ids}; item i of one view belongs to item i of the
            others.
        method: A forget objective, a plus, and a retain regularizer, such as `me+gd`; a forget objective alone; or
            `llmu`.
        beta: Of NPO, DPO, AltPO and AP.
        reference: The model before unlearning, for NPO, DPO, AltPO, UNDIAL, LLMU, KL, JSD and EMBED.
        max_tokens_per_forward: Most tokens in one forward pass; the result does not depend on it.
        options: The settings of an objective by its name, such as `simnpo={"beta": 4.5, "delta": 0}` or
            `kl={"positions": "all"}`; `efface.objectives` has the formulas. Rows of `average: padded` are filled with
            the last token of their answer, that of the end of a sequence.

    Returns:
        Scalars with gradient.

    Raises:
        EffaceError: The method or an option is unknown, a view or the reference is missing, the model does not have
            an id, or it has gradient checkpointing on, whose backward pass would run outside of packing.
    """
    bound = objective(method, _config(beta=beta, **{name: dict(each) for name, each in options.items()}))
    check_layers(model, bound.layers)
    examples = _examples(views, bound, vocabulary_size(model))
    reference_values = Reference()
    if bound.sequence_reference_views or bound.needs_distribution:
        if reference is None:
            raise EffaceError(f"method {bound.name!r} needs the model before unlearning; give reference=")
        needed = [example[view] for example in examples for view in bound.sequence_reference_views]
        budget = max_tokens_per_forward or sum(len(item) for item in needed) or 1
        reference_values = Reference(
            sequence_logprobs=CachedLogprobs.compute(reference, needed, max_tokens_per_forward=budget),
            distribution=LiveReference(reference),
        )
    return batch_losses(model, bound, examples, reference_values, max_tokens_per_forward=max_tokens_per_forward)


def _config(**options: Any) -> ObjectiveConfig:
    try:
        return ObjectiveConfig(**options)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise EffaceError(f"option {key}={problem['input']!r}: {problem['msg']}") from None


def _examples(views: Mapping[str, Sequence[TokenIds]], bound: Objective, vocabulary: int) -> list[TrainingExample]:
    needed, row_lengths = bound.views, bound.row_lengths
    if missing := [name for name in needed if not views.get(name)]:
        raise EffaceError(
            f"method {bound.name!r} needs the views {', '.join(needed)}; add {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} missing or empty (given: {', '.join(views) or 'none'})"
        )
    counts = {name: len(views[name]) for name in needed}
    if len(set(counts.values())) > 1:
        raise EffaceError(f"views need the same number of items, item i belongs to item i: {counts}")
    return [
        {view: _sequence(view, index, views[view][index], vocabulary, row_lengths.get(view)) for view in needed}
        for index in range(next(iter(counts.values())))
    ]


def _sequence(view: View, index: int, ids: TokenIds, vocabulary: int, row_length: int | None) -> TokenizedSequence:
    if not {"prompt", "answer"} <= set(ids):
        raise EffaceError(f"item {view}/{index} needs the keys prompt and answer, it has {', '.join(ids) or 'none'}")
    name, prompt, answer = f"{view}/{index}", list(ids["prompt"]), list(ids["answer"])
    if not prompt or not answer:
        raise EffaceError(f"item {name}: give at least one token of prompt and one of answer")
    if any(not 0 <= id_ < vocabulary for id_ in (*prompt, *answer)):
        raise EffaceError(f"item {name}: token ids must be from 0 to {vocabulary - 1}, the model's vocabulary")
    item = TokenizedSequence(name, prompt, answer)
    if row_length is not None:
        return pad(item, row_length, pad_token=answer[-1], end_token=answer[-1])
    return item
