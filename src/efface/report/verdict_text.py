"""A verdict in words; the rule is `efface.scores.verdict`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from efface.artifacts import AnswerTypes, ForgetVerdict, RetainVerdict, Share, Verdict
from efface.artifacts.tune import KeepResult
from efface.report.number_format import format_number, pluralize
from efface.scores.hallucination import STATED_SHARE
from efface.scores.verdict import CHANCE, SMALL_N

Tone = Literal["good", "part", "bad", "open"]

FORGET_TONES: Mapping[str, Tone] = {
    "forgot": "good",
    "likely": "part",
    "partly": "bad",
    "not": "bad",
    "undecided": "open",
}
RETAIN_TONES: Mapping[str, Tone] = {"kept": "good", "some": "part", "most": "bad", "undecided": "open"}

ANSWER_TYPES: Mapping[str, str] = {
    "right": "correct",
    "declined": "declined",
    "made_up": "made up",
    "silent": "empty",
}
"""Field of `AnswerTypes` -> its name."""

_FORGOT: Mapping[str, str] = {
    "forgot": "forgot",
    "likely": "does not say it, but still holds it likely",
    "partly": "forgot in part",
    "not": "did not forget",
    "undecided": "had little to forget",
}
"""State of the forget set -> what the model did."""

EFFICACY = (
    "Forget efficacy: 1 - the mean of ROUGE, probability, truth ratio, cosine similarity and entailment on the forget "
    "set, as far as they are available; with several requests, the mean over the forget sets of all so far"
)
"""Stands beside the number."""

RULE = (
    "An answer counts as correct if the judge finds the reference answer in it; without a judge, if it has at least "
    f"{STATED_SHARE:g} of the answer's words in their order (ROUGE-L recall, in any script) and does not decline. A "
    "question to forget leaks if it is answered correctly after unlearning. Its answer is still likely if it is not "
    "given, but its probability per token is at least halfway, on a logarithmic scale, from chance to the probability "
    f"before; chance is that of the wrong answers in the data or, without any, {CHANCE:g}. It forgot only where "
    "nothing leaks and nothing is likely. Each question to forget counts by itself, also where several ask about one "
    "fact. Kept: of the questions of the other sets that were answered correctly before, those that still are; where "
    "the model was asked about well-known facts, these alone: it knows a fact if it states it and gives it a higher "
    "probability than wrong answers, before in both of two wordings and after in at least one. Intervals: 95 %, "
    "Wilson; they take questions for independent, and are too narrow where several ask about one fact."
)
"""Stands where verdicts are shown in full."""


def forget_sentence(verdict: ForgetVerdict | None, *, single: bool = False) -> str:
    """Say whether the forget set was forgotten.

    Args:
        verdict: The verdict on it; None without a forget set.
        single: Whether there is no model before unlearning to compare with.
    """
    if verdict is None:
        return "There is no forget set, so forgetting cannot be measured."
    n, leaks, likely = verdict.leaks.n, verdict.leaks, verdict.likely
    questions = pluralize(n, "question") + " to forget"
    if single:
        return f"It answers {_count(leaks)} of the {questions} correctly ({_interval(leaks)}).{_small(n)}"
    if verdict.state == "undecided":
        after = f", and {_count(leaks)} after" if leaks.count else ""
        return f"There was little to forget: none of the {questions} was answered correctly before{after}.{_small(n)}"
    opening = f"It {_FORGOT[verdict.state]}"
    before = f"of {questions}, it answered {verdict.known_before:,} correctly before and {leaks.count:,} after"
    parts = [f"{opening}: {before} ({_interval(leaks)})"]
    if likely.count:
        parts.append(f"the answers to {_count(likely)} {'others' if leaks.count else 'of them'} are still likely")
    elif verdict.state == "forgot":
        parts.append("no answer is still likely")
    return f"{'; '.join(parts)}.{_small(n)}"


def retain_sentence(verdict: RetainVerdict | None, *, reason: str = "") -> str:
    """Say what is left of the other sets.

    Args:
        verdict: The verdict on them; None without another set.
        reason: Replaces the sentence for `verdict` None.
    """
    if verdict is None:
        return reason or "There is no set except the forget set, so damage cannot be measured."
    kept, questions = verdict.kept, f"{pluralize(verdict.n, 'question')} of the other sets"
    if verdict.state == "undecided":
        return f"None of the {questions} was answered correctly before, so damage cannot be measured."
    if verdict.known_facts:
        return _facts_sentence(verdict)
    opening = {"kept": "It kept the rest", "some": "It lost some of the rest", "most": "It lost most of the rest"}[
        verdict.state
    ]
    if verdict.own_answers:
        opening = {"kept": "It answers the rest as before", "some": "It answers some of the rest differently"}.get(
            verdict.state, "It answers most of the rest differently"
        )
        what = f"{_count(kept)} of {pluralize(kept.n, 'answer')} say the same as the model's own earlier answer"
        return f"{opening}: {what} ({_interval(kept)}), which need not be right.{_small(kept.n)}"
    what = f"{_count(kept)} of the {kept.n:,} that it answered correctly before"
    return f"{opening}: of {questions}, it kept {what} ({_interval(kept)}).{_small(kept.n)}"


def _facts_sentence(verdict: RetainVerdict) -> str:
    kept = verdict.kept
    opening = {"kept": "It kept the rest", "some": "It lost some of the rest"}.get(
        verdict.state, "It lost most of the rest"
    )
    return (
        f"{opening}: of {kept.n:,} well-known facts about other people and things, which it knew before and was not "
        f"trained on, it still knows {_count(kept)} ({_interval(kept)}).{_small(kept.n)}"
    )


def short_forget(verdict: ForgetVerdict | None, *, single: bool = False) -> str:
    """The verdict on the forget set for a table cell, such as `in part, 8/20 leak`.

    Args:
        verdict: The verdict on it; None without a forget set.
        single: Whether there is no model before unlearning to compare with.

    Returns:
        A few words with the counts; `-` without a forget set.
    """
    if verdict is None:
        return "-"
    leaks, likely = verdict.leaks, verdict.likely
    if single:
        return f"answers {leaks.count}/{leaks.n}"
    return {
        "forgot": f"forgot, 0/{leaks.n}",
        "likely": f"still likely, {likely.count}/{likely.n}",
        "partly": f"in part, {leaks.count}/{leaks.n} leak",
        "not": f"not, {leaks.count}/{leaks.n} leak",
        "undecided": "nothing known",
    }[verdict.state]


def short_retain(verdict: RetainVerdict | None) -> str:
    """What is left of the other sets for a table cell, such as `kept 15/20`."""
    if verdict is None or verdict.state == "undecided":
        return "-"
    word = "same" if verdict.own_answers else "knows" if verdict.known_facts else "kept"
    return f"{word} {verdict.kept.count}/{verdict.kept.n}"


def kept_words(verdict: RetainVerdict | None) -> tuple[str, str]:
    """A heading for the count of `RetainVerdict.kept`, and what it counts."""
    if verdict is not None and verdict.known_facts:
        return "Still knows", "well-known facts about other people and things, which it was not trained on"
    if verdict is not None and verdict.own_answers:
        return "Same as before", "answers that say the same as the model's own earlier answer"
    return "Kept", "questions of the other sets that it answered correctly before"


def answer_shares(types: AnswerTypes) -> list[str]:
    """The share of each of `ANSWER_TYPES`, in percent."""
    return [f"{getattr(types, name) / types.n:.0%}" if types.n else "-" for name in ANSWER_TYPES]


def verdict_sentences(verdict: Verdict) -> tuple[str, str]:
    """The sentences on the forget set and on the other sets."""
    return forget_sentence(verdict.forget), retain_sentence(verdict.retain)


def words_note(verdict: Verdict) -> str:
    """Say that words decided and what they cannot tell; empty where a judge labeled every output.

    Args:
        verdict: On a run.
    """
    parts = [each for each in (verdict.forget, verdict.retain) if each is not None]
    by_words, n = sum(each.by_words for each in parts), sum(_asked(each) for each in parts)
    if not by_words:
        return ""
    which = "Judged by words alone" if by_words == n else f"{by_words:,} of {n:,} questions were judged by words alone"
    return f"{which}: a wrong fact in the right sentence counts as correct; add key_fact to the data, or a judge."


def _asked(verdict: ForgetVerdict | RetainVerdict) -> int:
    return verdict.leaks.n if isinstance(verdict, ForgetVerdict) else verdict.n


def keep_sentence(result: KeepResult) -> str:
    """Where a run with `keep` ended, and which of its states was saved.

    Args:
        result: Of the run.
    """
    ended = f"training ended after step {result.stopped_after} of {result.steps}"
    reasons = {
        "bound": f"{ended}, whose model was not within the bound",
        "gone": f"{ended}, when the forget set was forgotten",
        "end": "training was complete",
    }
    left = (
        f"the model of step {result.step} was saved, which keeps {format_number(result.kept)} of the utility on the "
        f"questions that it was scored on, and at least {format_number(result.kept_at_least)} on others at a "
        "confidence of 95 %"
        if result.step
        else "no state was within the bound, so the model is the one before unlearning"
    )
    return f"keep={result.keep:g}: {reasons[result.reason]}; {left}"


def verdict_line(name: str, verdict: Verdict) -> tuple[str, str]:
    """A verdict in one line, to be compared with those on other methods.

    Args:
        name: Of the method.
        verdict: On its run.

    Returns:
        What became of the forget set, and of the other sets; the second is empty where that cannot be measured.
    """
    forget, retain = verdict.forget, verdict.retain
    if forget is None:
        forgot = f"{name}: {forget_sentence(None)}"
    else:
        rest = f" ({forget.likely.count:,} still likely)" if forget.likely.count else " answers to forget"
        forgot = f"{name} {_FORGOT[forget.state]}: gives {forget.leaks.count:,} of {forget.leaks.n:,}{rest}"
    if retain is None or retain.state == "undecided":
        return forgot, ""
    others = "other facts" if retain.known_facts else "others"
    return forgot, f", still {retain.kept.count:,} of {retain.kept.n:,} {others}"


def next_step(verdict: Verdict, *, searched: bool = False, bounded: bool = False) -> str:
    """What to do about a result; empty where it is undecided.

    Args:
        verdict: On the run.
        searched: Whether its settings come from `efface tune`.
        bounded: Whether the bound of `keep` ended its training.
    """
    forget = None if verdict.forget is None else verdict.forget.state
    lossy = verdict.retain is not None and verdict.retain.state in ("some", "most")
    if forget in ("partly", "not"):
        return _to_forget_more(lossy=lossy, searched=searched, bounded=bounded)
    if forget in ("forgot", "likely"):
        if lossy:
            return "to keep more, lower train.lr or train.epochs, give a larger retain set, or set keep=0.95."
        return "efface audit tries to bring back what is gone, in other wordings and by further training."
    return ""


def _to_forget_more(*, lossy: bool, searched: bool, bounded: bool) -> str:
    if searched:
        return "to forget more, let efface tune go on with more trials (--resume), or lower --keep."
    if bounded:
        return "efface tune searches for settings that forget more within the bound; or lower keep."
    if lossy:
        return "it neither forgot nor kept enough; efface tune searches for a method and settings that do both."
    return "to forget more, raise train.lr, train.epochs or forget_coeff, or let efface tune search."


def _count(share: Share) -> str:
    return f"{share.count:,}"


def _interval(share: Share) -> str:
    """Such as `40 %, 95 % interval 22 to 61 %`."""
    value = share.count / share.n if share.n else 0.0
    return f"{100 * value:.0f} %, 95 % interval {100 * share.low:.0f} to {100 * share.high:.0f} %"


def _small(n: int) -> str:
    these = "This is" if n == 1 else "These are"
    return f" {these} only {pluralize(n, 'question')}: take it as a hint." if n < SMALL_N else ""
