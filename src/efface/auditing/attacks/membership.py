"""membership: can one tell by the likelihoods which facts the model was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from efface.auditing.attack import Attack, Context, Cost, Level, ModelName, Tier, Unit
from efface.auditing.fact import Fact, Row
from efface.auditing.measures.answer_tokens import AnswerTokens, answer_tokens
from efface.auditing.measures.auc import auc_gap
from efface.auditing.measures.gradient_norm import gradient_norm
from efface.auditing.subject import Subject
from efface.schema import Prompt
from efface.scores.metrics.membership import loss_score, min_k_plus_plus_score, min_k_score, zlib_score
from efface.scores.privacy_leakage import auc, privleak
from efface.spacing import evenly_spaced

MEMBERS, UNSEEN = "facts", "unseen"
SCORES = ("loss", "zlib", "min_k", "min_k_plus_plus", "gradnorm", "reference")
_GRADNORM = "gradnorm-"
_WRONG_ANSWER = "wrong_answer"
"""1 among the numbers of an unseen item that is a wrong answer."""


class Membership(Attack):
    """Membership inference by loss, zlib, min-k, min-k++ and a reference model; in `full` by the gradient, too.

    AUC is the share of pairs of a fact and an unseen item in which the fact is the more likely one: 1 is fully
    remembered, 0.5 as for a model that never saw it. Far below 0.5 is no success: that, too, tells who was deleted.
    Hence the distance to the AUC of the control has two sides (`gap`, with a stratified bootstrap).

    The unseen items are those of `data.holdout`, at most as many as facts. Where the run has none, they are the facts'
    questions with a wrong answer each. That is weak evidence, and the numbers say so (`unseen_are_wrong_answers`): a
    model may prefer the truth for other reasons.
    Sources: arXiv:1709.01604 (loss), 2012.07805 (zlib), 2310.16789, 2404.02936, 2407.06460 (PrivLeak).
    """

    name: ClassVar[str] = "membership"
    tier: ClassVar[Tier] = "weights"
    wants_before: ClassVar[bool] = True
    in_union: ClassVar[bool] = False

    def units(self, level: Level) -> list[Unit]:
        """Facts, and unseen items; in `full` also their gradients."""
        parts = [Unit(MEMBERS), Unit(UNSEEN)]
        if level == "quick":
            return []
        return parts + ([Unit(_GRADNORM + each.variant) for each in parts] if level == "full" else [])

    def plan(self, facts: Sequence[Fact], unit: Unit, context: Context) -> Cost:
        """One forward pass over each answer, or a gradient."""
        tokens = len(facts) * context.max_new_tokens
        return Cost(trained=tokens) if unit.variant.startswith(_GRADNORM) else Cost(read=tokens)

    def run(self, subject: Subject, facts: Sequence[Fact], unit: Unit, context: Context) -> list[Row]:
        """The scores of each item."""
        unseen = unit.variant.endswith(UNSEEN)
        items = unseen_items(facts, context) if unseen else {fact.id: (fact.prompt, fact.answer) for fact in facts}
        pairs = list(items.values())
        weak = {_WRONG_ANSWER: 1.0} if unseen and not context.holdout else {}
        if unit.variant.startswith(_GRADNORM):
            numbers = _gradient_norms(subject, pairs)
        else:
            read = answer_tokens(subject, pairs)
            numbers = [membership_scores(tokens, answer) for tokens, (_, answer) in zip(read, pairs, strict=True)]
        return self.rows_of_numbers(list(items), unit, [each | weak for each in numbers])

    def scalars(self, rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
        """AUC by score and model; gap to the control with its interval; PrivLeak."""
        scores = {model: _by_item(listed) for model, listed in rows.items()}
        found: dict[str, float | None] = {}
        for score in SCORES:
            parts = {model: _both_parts(of_model, score, scores.get("control")) for model, of_model in scores.items()}
            known = {model: each for model, each in parts.items() if each is not None}
            if score == "reference":
                known.pop("control", None)  # its distance to itself
            found |= {f"auc_{score}_{model}": auc(*each) for model, each in known.items()}
            if "after" in known and "control" in known:
                found |= _gap(score, known["after"], known["control"])
        if any(_WRONG_ANSWER in row.numbers for listed in rows.values() for row in listed):
            found["unseen_are_wrong_answers"] = 1.0
        return found


def unseen_items(facts: Sequence[Fact], context: Context) -> dict[str, tuple[Prompt, str]]:
    """An item that no model was trained on, in the place of each fact.

    Args:
        facts: The facts.
        context: Its holdout items are taken where there are any, else wrong answers to the facts' questions.

    Returns:
        Id of the fact -> prompt and answer; none for a fact for which there is none.
    """
    if not context.holdout:
        answers = unseen_answers(facts, context.facts)
        return {fact.id: (fact.prompt, answers[fact.id]) for fact in facts if fact.id in answers}
    chosen = zip((fact.id for fact in context.facts), evenly_spaced(context.holdout, len(context.facts)), strict=False)
    item_of = dict(chosen)
    found = [(fact.id, item_of[fact.id]) for fact in facts if fact.id in item_of]
    return {fact: (item.prompt, item.answer) for fact, item in found}


def unseen_answers(facts: Sequence[Fact], all_facts: Sequence[Fact]) -> dict[str, str]:
    """A wrong answer to the question of each fact.

    Args:
        facts: The facts.
        all_facts: All that are audited: where a fact has no wrong answer, that of the next one of its type is one.

    Returns:
        Id of the fact -> wrong answer; none for a fact that has none and is the only one of its type.
    """
    answers = {}
    for fact in facts:
        if fact.wrong_answers:
            answers[fact.id] = fact.wrong_answers[0]
            continue
        alike = [each for each in all_facts if each.answer_type == fact.answer_type]
        position = next(index for index, each in enumerate(alike) if each.id == fact.id)
        following = [*alike[position + 1 :], *alike[:position]]
        other = next((each.answer for each in following if each.answer != fact.answer), None)
        if other is not None:
            answers[fact.id] = other
    return answers


def membership_scores(tokens: AnswerTokens, text: str) -> dict[str, float]:
    """The scores of one answer, high where it was not trained on.

    Args:
        tokens: Numbers of its tokens.
        text: The answer.
    """
    return {
        "loss": loss_score(tokens.logprobs),
        "zlib": zlib_score(tokens.logprobs, text),
        "min_k": min_k_score(tokens.logprobs),
        "min_k_plus_plus": min_k_plus_plus_score(tokens.logprobs, tokens.means, tokens.variances),
    }


def _gradient_norms(subject: Subject, pairs: Sequence[tuple[Prompt, str]]) -> list[dict[str, float]]:
    sequences = subject.formatter.encode([("", prompt, answer) for prompt, answer in pairs])
    found = []
    for (prompt, _), sequence in zip(pairs, sequences, strict=True):
        end = 0 if prompt.passage else subject.formatter.end_length
        counted = max(1, sequence.answer_length - end)
        found.append({"gradnorm": gradient_norm(subject.model, sequence, counted=counted)})
    return found


Scores = dict[str, dict[str, dict[str, float]]]
"""Part (`facts` or `unseen`) -> id -> scores."""


def _by_item(rows: Sequence[Row]) -> Scores:
    found: Scores = {MEMBERS: {}, UNSEEN: {}}
    for row in rows:
        found[row.variant.removeprefix(_GRADNORM)].setdefault(row.fact, {}).update(row.numbers)
    return found


def _both_parts(scores: Scores, score: str, control: Scores | None) -> tuple[list[float], list[float]] | None:
    """One score of all facts and of all unseen items, in the order of their ids; None where there are none."""
    parts = []
    for part in (MEMBERS, UNSEEN):
        values = []
        for item, numbers in sorted(scores[part].items()):
            if score != "reference":
                values += [numbers[score]] if score in numbers else []
            elif control is not None and "loss" in numbers and "loss" in control[part].get(item, {}):
                values.append(numbers["loss"] - control[part][item]["loss"])
        parts.append(values)
    return (parts[0], parts[1]) if all(parts) else None


def _gap(
    score: str, after: tuple[list[float], list[float]], control: tuple[list[float], list[float]]
) -> dict[str, float | None]:
    if [len(each) for each in after] != [len(each) for each in control]:
        return {}  # one of the two was stopped early
    found = auc_gap((after[0], control[0]), (after[1], control[1]))
    leak = {"privleak": privleak(found.auc, found.control)} if score == "min_k" else {}
    return {f"gap_{score}": found.gap, f"gap_{score}_low": found.low, f"gap_{score}_high": found.high, **leak}
