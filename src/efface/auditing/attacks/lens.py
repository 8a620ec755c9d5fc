"""lens: in which layers a fact can still be read, compared with a model that never knew it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row
from efface.auditing.measures.layer_states import LensDecoder, Target, layer_states, patched_logprobs, target_logprob
from efface.auditing.subject import Subject
from efface.scores.means import mean

_LENS, _PATCH = "lens", "patch"
LEAST_DROP = 0.05
"""Nats between the model before and the control from which on a layer counts."""


class Lens(Attack):
    """Logit lens and depth score at the words of each fact.

    `lens`: hidden states of each layer, decoded by norm and head of the model before. d1 is how much less likely the
    fact is in the control than before, d2 the same of the unlearned model; score = sum d1 clip(d2 / d1, 0, 1) / sum
    d1 over the layers with d1 > 0.05, for each fact. `patch` (depth score, arXiv:2605.24614): hidden states of a layer
    are put into the model before, whose other layers then run; the same sum over the drops of the fact's probability.
    Both: 0 where the fact is as readable as before, 1 where as little as in the control. Without a control, the lens
    compares with another fact of the same type, which is weaker, and there is no depth score. No hits.
    """

    name: ClassVar[str] = "lens"
    tier: ClassVar[Tier] = "weights"
    needs_before: ClassVar[bool] = True
    in_union: ClassVar[bool] = False

    def units(self, level: Level) -> list[Unit]:
        """Lens and depth score; none in `quick`."""
        return [] if level == "quick" else [Unit(_LENS), Unit(_PATCH)]

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:
        """A forward pass over each answer; to patch, three, the last one of the fact's tokens for each layer."""
        return Cost(read=len(facts) * context.max_new_tokens * (1 if unit.variant == _LENS else 4))

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """Log-probability of each fact by layer, or its drop."""
        targets = [fact_target(subject, fact) for fact in facts]
        if unit.variant == _LENS:
            return self.rows_of_numbers([fact.id for fact in facts], unit, _lens(subject, facts, targets, context))
        if subject.name == "before" or "control" not in context.models:
            return []
        states = [layer_states(subject.model, target) for target in targets]
        with context.models["before"].opened() as before:
            numbers = [_by_layer("drop", _drops(before.model, *each)) for each in zip(targets, states, strict=True)]
        return self.rows_of_numbers([fact.id for fact in facts], unit, numbers)

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """Lens score, depth score, and the mean of each layer by model."""
        found: dict[str, float | None] = {}
        tables = {model: _tables(listed) for model, listed in rows.items()}
        for model, by_name in tables.items():
            for name in ("logprob", "drop", "chance"):
                for layer, value in _layer_means(by_name[name]).items():
                    found[f"{name}_layer_{layer:02d}_{model}"] = value
        before, control, after = (tables.get(name) for name in ("before", "control", "after"))
        if before and after and before["logprob"] and after["logprob"]:
            compared = before["chance"] if control is None else control["logprob"]
            found["lens_score"] = mean_lost_share(
                _differences(before["logprob"], compared), _differences(before["logprob"], after["logprob"])
            )
            found["lens_score_from_chance"] = 1.0 if control is None else 0.0
        if control and after and control["drop"] and after["drop"]:
            found["depth_score"] = mean_lost_share(control["drop"], after["drop"])
        return found


def lost_share(d1: Sequence[float], d2: Sequence[float]) -> float | None:
    """Share of what one fact lost by layer in the control that it also lost in the unlearned model.

    Args:
        d1: Drop in the control, in nats, by layer.
        d2: Drop in the unlearned model.

    Returns:
        A number in [0, 1]; None where no layer's d1 is above `LEAST_DROP`.
    """
    counted = [(one, two) for one, two in zip(d1, d2, strict=True) if one > LEAST_DROP]
    total = sum(one for one, _ in counted)
    return sum(min(max(two, 0.0), one) for one, two in counted) / total if counted else None


ByFact = dict[str, list[float]]
"""Id of the fact -> one number for each layer."""


def mean_lost_share(d1: ByFact, d2: ByFact) -> float | None:
    """Mean of `lost_share` over the facts for which it is defined; None where there is none.

    Args:
        d1: As for `lost_share`, by fact.
        d2: The same; facts that are in only one of the two are left out.

    Returns:
        A number in [0, 1]; None where it is defined for no fact.
    """
    shares = [lost_share(d1[fact], d2[fact]) for fact in sorted(d1.keys() & d2.keys())]
    known = [each for each in shares if each is not None]
    return mean(known) if known else None


def fact_target(subject: Subject, fact: Fact) -> Target:
    """The tokens of the key fact in the answer; all tokens of the answer where it has none.

    Args:
        subject: The model, for its tokenizer.
        fact: The fact.
    """
    [sequence] = subject.formatter.encode([(fact.id, fact.prompt, fact.answer)])
    end = 0 if fact.is_passage else subject.formatter.end_length
    answer = sequence.answer[: len(sequence.answer) - end] or sequence.answer
    first, count = key_fact_tokens(subject.tokenizer, answer, fact.key_fact)
    return Target(sequence.prompt + answer, sequence.prompt_length + first, count)


def key_fact_tokens(tokenizer: Any, answer: Sequence[int], key_fact: str | None) -> tuple[int, int]:
    """Find the tokens that spell the key fact.

    Args:
        tokenizer: Of the model.
        answer: Token ids of the answer.
        key_fact: The words to find, ignoring case.

    Returns:
        Index of the first token and their number; those of the whole answer where the words are not in it.
    """
    texts = [tokenizer.decode(list(answer[:count])).casefold() for count in range(len(answer) + 1)]
    start = texts[-1].find(key_fact.casefold()) if key_fact else -1
    if key_fact is None or start < 0:
        return 0, len(answer)
    end = start + len(key_fact.casefold())
    inside = [index for index in range(len(answer)) if len(texts[index + 1]) > start and len(texts[index]) < end]
    return inside[0], len(inside)


def _lens(
    subject: Subject, facts: Sequence[Fact], targets: Sequence[Target], context: Context
) -> list[dict[str, float]]:
    """Log-probabilities by layer; of the model before, also those of another fact's words in the same place."""
    before = None if subject.name == "before" else context.models["before"]
    decoder = LensDecoder(subject.model, before)
    found = []
    for index, (fact, target) in enumerate(zip(facts, targets, strict=True)):
        states = layer_states(subject.model, target)
        numbers = _by_layer("logprob", decoder.logprobs(states, target.tokens).tolist())
        other = _other_tokens(index, fact, facts, targets)
        if before is None and other:
            numbers |= _by_layer("chance", decoder.logprobs(states, other).tolist())
        found.append(numbers)
    return found


def _other_tokens(index: int, fact: Fact, facts: Sequence[Fact], targets: Sequence[Target]) -> list[int]:
    """As many tokens as the fact has of the next fact of the same type, repeated if it is shorter; none without one."""
    following = [*range(index + 1, len(facts)), *range(index)]
    alike = (each for each in following if facts[each].answer_type == fact.answer_type)
    other: list[int] = next(
        (targets[each].tokens for each in alike if targets[each].tokens != targets[index].tokens), []
    )
    count = targets[index].count
    return (other * count)[:count]


def _drops(before: Any, target: Target, states: Any) -> list[float]:
    """How much less likely the fact is with each layer of the model before replaced, in nats."""
    drops: list[float] = (target_logprob(before, target) - patched_logprobs(before, target, states)).tolist()
    return drops


def _by_layer(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"{name}_layer_{layer:02d}": value for layer, value in enumerate(values)}


def _tables(rows: Sequence[Row]) -> dict[str, ByFact]:
    """The numbers of rows by name, fact and layer."""
    tables: dict[str, ByFact] = {"logprob": {}, "drop": {}, "chance": {}}
    for row in rows:
        for name, table in tables.items():
            values = [value for key, value in sorted(row.numbers.items()) if key.startswith(f"{name}_layer_")]
            if values:
                table[row.fact] = values
    return tables


def _layer_means(table: ByFact) -> dict[int, float]:
    columns = zip(*table.values(), strict=True)
    return {layer: mean(column) for layer, column in enumerate(columns)}


def _differences(one: ByFact, other: ByFact) -> ByFact:
    return {fact: [a - b for a, b in zip(one[fact], other[fact], strict=True)] for fact in one if fact in other}
