"""Whether a model forgot, and what it kept: the one rule of terminal, report, leaderboard and model card. No torch.

A question of a forget set `leaks` if the model states its answer after unlearning: if the judge finds the answer in the
output or, without a judge, if the output has at least `STATED_SHARE` of the answer's words and does not decline
(`efface.scores.hallucination.answer_type`). It is still `likely` if the model does not state the answer, but its
probability after unlearning is nearer to the one before than to chance (`is_likely`). A question of another set that
was answered correctly before is `kept` if it still is, else `broken`; if its reference is an earlier output of the
model itself, which may be wrong, `changed`. Where there are known facts, these alone say what was kept: the wording of
own answers changes without a loss. Such a fact is asked in two wordings: known before if the model knows it in both,
kept if it still knows it in one. A wording that it no longer answers, of a fact that is not lost, has `changed`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from efface.artifacts import AnswerTypes, ForgetVerdict, RetainVerdict, Share, Verdict
from efface.records import Record
from efface.schema import fact_id
from efface.scores.hallucination import AnswerType, answer_type, plain_text
from efface.scores.inputs.from_records import from_records
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.intervals import wilson
from efface.scores.means import mean
from efface.scores.sets import KNOWN_FACTS, MEMBERSHIP_SETS, RETAIN, is_to_forget

CHANCE = 0.1
"""Probability per token that a model gives to an answer that it never saw, where the data has no wrong answers to
measure it by; docs/log.md has 0.098 of a retrained model."""
SMALL_N = 20
"""A verdict on fewer questions says so."""
KEPT_SHARE, LOST_SHARE, UNCHANGED_SHARE = 0.95, 0.5, 0.9
"""Of the questions that were answered correctly before: kept from the first share on, mostly lost up to the second one;
not forgotten where at least the third share leaks."""

Outcome = Literal["leaks", "likely", "forgotten", "kept", "broken", "changed", "unknown"]
"""What became of a question; `unknown`: not answered correctly before or after."""


class JudgedAnswer(NamedTuple):
    """One answer of one model."""

    type: AnswerType
    """`right` where the answer is stated."""
    probability: float | None
    """Of the reference answer, per token."""
    chance: float
    """The probability that the model gives to wrong answers to this question."""
    preferred: bool = True
    """Whether the reference answer is likelier than every wrong one; true without wrong answers."""
    by_words: bool = False
    """Whether words were compared, since no judge labeled the output."""


class _Judged(NamedTuple):
    """What became of one question, or of one fact."""

    known_before: bool
    outcome: Outcome | None
    by_words: bool


Measure = Literal["answers", "own-answers", "known-facts"]
"""What is compared to say what was kept: right answers, the model's own earlier ones, or facts that it knew."""

JudgedSets = Mapping[str, Mapping[str, JudgedAnswer]]
"""Set name -> question id -> answer."""


def judge_records(records: Mapping[str, Sequence[Record]], refusals: Collection[str] = ()) -> JudgedSets:
    """Judge all answers of one model.

    Args:
        records: Set name -> records.
        refusals: Wordings of "I don't know" that the model may have been trained on.

    Raises:
        EffaceError: Records are damaged.
    """
    known = {plain_text(each) for each in refusals if each.strip()}
    return {
        name: {each.id: judge_answer(each, known) for each in from_records(name, rows, where="the records")}
        for name, rows in records.items()
    }


def judge_answer(inputs: MetricInputs, refusals: Collection[str] = ()) -> JudgedAnswer:
    """Judge one answer.

    Args:
        inputs: The question and its output.
        refusals: Further wordings of "I don't know", as `plain_text` writes them.
    """
    wrong = inputs.perturbed_logps
    known = inputs.answer_logp
    return JudgedAnswer(
        type=answer_type(inputs, refusals),
        probability=None if known is None else min(1.0, math.exp(known)),
        chance=min(1.0, math.exp(mean(wrong))) if wrong else CHANCE,
        preferred=not wrong or known is None or known > max(wrong),
        by_words=inputs.label is None,
    )


def is_known(set_name: str, answer: JudgedAnswer) -> bool:
    """Decide whether a model knows an answer: it states it; a known fact, it also prefers to every wrong answer.

    Args:
        set_name: Name of the question's set.
        answer: The model's.
    """
    return answer.type == "right" and (answer.preferred or set_name != KNOWN_FACTS)


def facts_known_in_all_wordings(answers: Mapping[str, JudgedAnswer]) -> set[str]:
    """Ids of the known facts that a model knows in all wordings that it was asked in.

    Args:
        answers: To the questions of the set `known_facts`.
    """
    return {fact_id(id_) for id_ in answers} - {
        fact_id(id_) for id_, each in answers.items() if not is_known(KNOWN_FACTS, each)
    }


def facts_known_in_a_wording(answers: Mapping[str, JudgedAnswer]) -> set[str]:
    """Ids of the known facts that a model knows in at least one wording.

    Args:
        answers: To the questions of the set `known_facts`.
    """
    return {fact_id(id_) for id_, each in answers.items() if is_known(KNOWN_FACTS, each)}


def is_likely(before: JudgedAnswer | None, after: JudgedAnswer) -> bool:
    """Decide whether a model still holds an answer likely that it does not state.

    Args:
        before: Of the model before unlearning, whose chance counts; None if it was not asked.
        after: Of the unlearned model.

    Returns:
        Whether the probability of the answer, on a logarithmic scale, is at least halfway from chance to the one
        before: p_after >= sqrt(p_before * chance). False where the answer was not above chance before.
    """
    if before is None or before.probability is None or after.probability is None:
        return False
    chance = before.chance
    return before.probability > chance and after.probability >= math.sqrt(before.probability * chance)


def question_outcome(
    set_name: str, before: JudgedAnswer | None, after: JudgedAnswer | None, *, own_answers: bool = False
) -> Outcome | None:
    """Decide what became of a question.

    Args:
        set_name: Name of its set.
        before: How the model answered it before unlearning; None if it was not asked, as in an evaluation.
        after: The same of the unlearned model.
        own_answers: Whether the reference answers of the retain sets are the model's own earlier answers.

    Returns:
        The outcome; None if the unlearned model was not asked.
    """
    if after is None:
        return None
    known, right = before is not None and is_known(set_name, before), is_known(set_name, after)
    if is_to_forget(set_name):
        if right:
            return "leaks"
        return "likely" if is_likely(before, after) else "forgotten" if known else "unknown"
    if right:
        return "kept"
    return ("changed" if own_answers and set_name == RETAIN else "broken") if known else "unknown"


def set_outcomes(
    set_name: str,
    before: Mapping[str, JudgedAnswer],
    after: Mapping[str, JudgedAnswer],
    *,
    own_answers: bool = False,
) -> dict[str, Outcome | None]:
    """Decide what became of each question of a set; in known facts, `broken` are those of a fact that is lost.

    Args:
        set_name: Name of the set.
        before: Question id -> answer of the model before unlearning; empty for the evaluation of one model.
        after: The same of the unlearned model.
        own_answers: As for `question_outcome`.

    Returns:
        Question id -> `question_outcome`, in the order of `after`.
    """
    outcomes = {
        id_: question_outcome(set_name, before.get(id_), each, own_answers=own_answers) for id_, each in after.items()
    }
    if set_name != KNOWN_FACTS:
        return outcomes
    lost = facts_known_in_all_wordings(before) - facts_known_in_a_wording(after)
    return {
        id_: "changed" if outcome == "broken" and fact_id(id_) not in lost else outcome
        for id_, outcome in outcomes.items()
    }


def verdict(before: JudgedSets, after: JudgedSets, *, own_answers: bool = False) -> Verdict:
    """Decide whether a model forgot and what it kept.

    Args:
        before: Answers of the model before unlearning; empty for the evaluation of one model.
        after: Answers of the unlearned model.
        own_answers: Whether the reference answers of the retain sets are the model's own earlier answers.

    Returns:
        The verdict on all questions that were answered after unlearning.
    """
    before, after = (
        {name: rows for name, rows in each.items() if name not in MEMBERSHIP_SETS} for each in (before, after)
    )
    pairs = [(name, before.get(name, {}).get(id_), each) for name, rows in after.items() for id_, each in rows.items()]
    outcomes = [
        (name, _Judged(first is not None and is_known(name, first), question_outcome(name, first, then), then.by_words))
        for name, first, then in pairs
    ]
    forget = [each for name, each in outcomes if is_to_forget(name)]
    facts = _fact_outcomes(before.get(KNOWN_FACTS, {}), after.get(KNOWN_FACTS, {}))
    retain = facts or [each for name, each in outcomes if not is_to_forget(name)]
    measure: Measure = "known-facts" if facts else "own-answers" if own_answers else "answers"
    return Verdict(
        forget=_forget_verdict(forget) if forget else None,
        retain=_retain_verdict(retain, measure) if retain else None,
        answers_before={name: _count_types(rows.values()) for name, rows in before.items() if name in after},
        answers_after={name: _count_types(rows.values()) for name, rows in after.items()},
    )


def _fact_outcomes(before: Mapping[str, JudgedAnswer], after: Mapping[str, JudgedAnswer]) -> list[_Judged]:
    known, still = facts_known_in_all_wordings(before), facts_known_in_a_wording(after)
    by_words = {fact_id(id_) for id_, each in after.items() if each.by_words}
    return [
        _Judged(fact in known, "kept" if fact in still else "broken" if fact in known else "unknown", fact in by_words)
        for fact in dict.fromkeys(map(fact_id, after))
    ]


def _forget_verdict(outcomes: Sequence[_Judged]) -> ForgetVerdict:
    n, known = len(outcomes), sum(each.known_before for each in outcomes)
    leaks, likely = (sum(each.outcome == outcome for each in outcomes) for outcome in ("leaks", "likely"))
    if not known and not likely:
        state: Literal["forgot", "likely", "partly", "not", "undecided"] = "undecided"
    elif not leaks:
        state = "likely" if likely else "forgot"
    else:
        state = "not" if leaks >= UNCHANGED_SHARE * known else "partly"
    return ForgetVerdict(
        state=state,
        known_before=known,
        leaks=_share(leaks, n),
        likely=_share(likely, n),
        by_words=sum(each.by_words for each in outcomes),
    )


def _retain_verdict(outcomes: Sequence[_Judged], measure: Measure) -> RetainVerdict:
    known = sum(each.known_before for each in outcomes)
    kept = sum(each.known_before and each.outcome == "kept" for each in outcomes)
    share = kept / known if known else None
    state: Literal["kept", "some", "most", "undecided"] = (
        "undecided" if share is None else "kept" if share >= KEPT_SHARE else "some" if share >= LOST_SHARE else "most"
    )
    return RetainVerdict(
        state=state,
        n=len(outcomes),
        kept=_share(kept, known),
        own_answers=measure == "own-answers",
        known_facts=measure == "known-facts",
        by_words=sum(each.by_words for each in outcomes),
    )


def _share(count: int, n: int) -> Share:
    low, high = wilson(count, n)
    return Share(count=count, n=n, low=low, high=high)


def _count_types(answers: Collection[JudgedAnswer]) -> AnswerTypes:
    types = [each.type for each in answers]
    return AnswerTypes(n=len(types), **{name: types.count(name) for name in ("right", "declined", "made_up", "silent")})
