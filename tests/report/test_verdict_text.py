"""Verdicts in words."""

from __future__ import annotations

import pytest

from efface.artifacts import AnswerTypes, ForgetVerdict, RetainVerdict, Share, Verdict
from efface.artifacts.tune import KeepResult
from efface.report.verdict_text import (
    answer_shares,
    forget_sentence,
    keep_sentence,
    kept_words,
    next_step,
    retain_sentence,
    short_forget,
    short_retain,
    verdict_line,
    words_note,
)
from efface.scores.intervals import wilson
from support.messages import assert_names


def share(count: int, n: int) -> Share:
    low, high = wilson(count, n)
    return Share(count=count, n=n, low=low, high=high)


def on_forget(state: str, leaks: int, likely: int = 0, n: int = 40) -> ForgetVerdict:
    return ForgetVerdict(state=state, known_before=30, leaks=share(leaks, n), likely=share(likely, n))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "start", "end", "short"),
    [
        (on_forget("forgot", 0), "It forgot: ", "no answer is still likely.", "forgot, 0/40"),
        (on_forget("likely", 0, 7), "It does not say it, but", "7 of them are still likely.", "still likely, 7/40"),
        (on_forget("partly", 5, 7), "It forgot in part: ", "7 others are still likely.", "in part, 5/40 leak"),
        (on_forget("not", 30), "It did not forget: ", "30 after (75 %, 95 % interval 60 to 86 %).", "not, 30/40 leak"),
        (on_forget("undecided", 0), "There was little to forget", "correctly before.", "nothing known"),
        (on_forget("undecided", 3), "There was little to forget", "correctly before, and 3 after.", "nothing known"),
        (None, "There is no forget set", "cannot be measured.", "-"),
    ],
)
def test_the_forget_set(found: ForgetVerdict | None, start: str, end: str, short: str) -> None:
    sentence = forget_sentence(found)
    assert sentence.startswith(start)
    assert sentence.endswith(end)
    assert short_forget(found) == short


def test_of_one_model_the_cell_says_what_it_answers() -> None:
    alone = on_forget("undecided", 30)
    assert "answers 30 of the 40 questions to forget correctly" in forget_sentence(alone, single=True)
    assert short_forget(alone, single=True) == "answers 30/40"


def test_few_questions_are_said() -> None:
    assert "This is only 1 question:" in forget_sentence(on_forget("forgot", 0, n=1))
    assert "only 12 questions" in forget_sentence(on_forget("forgot", 0, n=12))
    assert "only" not in forget_sentence(on_forget("forgot", 0, n=20))


def on_retain(state: str, kept: int, *, own_answers: bool = False) -> RetainVerdict:
    return RetainVerdict(state=state, n=40, kept=share(kept, 30), own_answers=own_answers)  # type: ignore[arg-type]


def test_the_other_sets() -> None:
    lost = retain_sentence(on_retain("some", 20))
    assert lost.startswith("It lost some of the rest: of 40 questions of the other sets, it kept 20 of the 30 that")
    assert short_retain(on_retain("some", 20)) == "kept 20/30"
    assert "cannot be measured" in retain_sentence(on_retain("undecided", 0))
    assert "cannot be measured" in retain_sentence(None)
    assert short_retain(None) == "-"


def test_the_models_own_earlier_answer_is_never_called_right() -> None:
    for state in ("kept", "some", "most"):
        sentence = retain_sentence(on_retain(state, 20, own_answers=True))
        assert "the model's own earlier answer" in sentence
        assert not any(word in sentence for word in ("correct", "lost", "broke"))
    assert short_retain(on_retain("some", 20, own_answers=True)) == "same 20/30"


@pytest.mark.parametrize(
    ("state", "start"),
    [("kept", "It kept the rest: "), ("some", "It lost some of the rest: "), ("most", "It lost most of the rest: ")],
)
def test_known_facts_are_said_to_be_facts(state: str, start: str) -> None:
    found = on_retain(state, 29).model_copy(update={"known_facts": True})
    sentence = retain_sentence(found)
    assert sentence.startswith(start)
    assert_names(sentence, "of 30 well-known facts", "not trained on", "still knows 29 (97 %")
    assert short_retain(found) == "knows 29/30"
    assert kept_words(found)[0] == "Still knows"


def test_the_heading_of_what_was_kept() -> None:
    assert kept_words(None)[0] == kept_words(on_retain("some", 20))[0] == "Kept"
    assert kept_words(on_retain("some", 20, own_answers=True))[0] == "Same as before"


def test_a_line_counts_the_answers_that_are_still_likely() -> None:
    forget = on_forget("partly", 4, likely=30)
    found = Verdict(forget=forget, retain=on_retain("some", 20), answers_before={}, answers_after={})
    assert verdict_line("GA", found)[0] == "GA forgot in part: gives 4 of 40 (30 still likely)"


def test_a_line_says_both() -> None:
    found = Verdict(forget=on_forget("partly", 4), retain=on_retain("some", 20), answers_before={}, answers_after={})
    assert verdict_line("GA", found)[0] == "GA forgot in part: gives 4 of 40 answers to forget"
    assert verdict_line("GA", found)[1].startswith(", still 20 of ")
    retain = on_retain("some", 20).model_copy(update={"known_facts": True})
    facts = Verdict(forget=None, retain=retain, answers_before={}, answers_after={})
    assert_names(verdict_line("GA", facts)[0], "GA", "no forget set")
    assert verdict_line("GA", facts)[1].endswith(" other facts")
    assert verdict_line("GA", facts.model_copy(update={"retain": None}))[1] == ""


def test_it_is_said_where_words_decided() -> None:
    forget, retain = on_forget("partly", 4), on_retain("some", 20)
    judged = Verdict(forget=forget, retain=retain, answers_before={}, answers_after={})
    assert words_note(judged) == ""
    by_words = judged.model_copy(update={"forget": forget.model_copy(update={"by_words": 40})})
    assert words_note(by_words).startswith("40 of 80 questions were judged by words alone: ")
    everything = by_words.model_copy(update={"retain": retain.model_copy(update={"by_words": 40})})
    assert_names(words_note(everything), "Judged by words alone: ", "wrong fact", "key_fact", "a judge")


@pytest.mark.parametrize(
    ("forget", "retain", "word"),
    [
        ("not", "kept", "raise"),
        ("partly", "some", "efface tune"),
        ("forgot", "most", "keep=0.95"),
        ("likely", "kept", "efface audit"),
        ("undecided", "kept", ""),
    ],
)
def test_the_next_step(forget: str, retain: str, word: str) -> None:
    found = Verdict(forget=on_forget(forget, 3), retain=on_retain(retain, 20), answers_before={}, answers_after={})
    assert word in next_step(found)
    assert bool(next_step(found)) is bool(word)


@pytest.mark.parametrize("state", ["partly", "not"])
def test_a_search_is_not_told_to_search(state: str) -> None:
    found = Verdict(forget=on_forget(state, 3), retain=on_retain("kept", 20), answers_before={}, answers_after={})
    assert "--resume" in next_step(found, searched=True)
    assert "--resume" not in next_step(found)


def test_a_run_that_its_bound_ended_is_not_told_to_train_more() -> None:
    found = Verdict(forget=on_forget("not", 3), retain=on_retain("kept", 20), answers_before={}, answers_after={})
    assert_names(next_step(found, bounded=True), "efface tune", "lower keep")
    assert "raise" not in next_step(found, bounded=True)


@pytest.mark.parametrize(
    ("step", "reason", "said"),
    [
        (10, "bound", ("step 12 of 60", "not within the bound", "step 10 was saved", "0.972", "0.951", "95 %")),
        (12, "gone", ("step 12 of 60", "forgotten", "step 12 was saved")),
        (12, "end", ("complete", "step 12 was saved")),
        (0, "bound", ("not within the bound", "no state", "before unlearning")),
    ],
)
def test_where_keep_ended_a_training(step: int, reason: str, said: tuple[str, ...]) -> None:
    values = {"keep": 0.95, "step": step, "stopped_after": 12, "steps": 60, "kept": 0.972, "kept_at_least": 0.951}
    sentence = keep_sentence(KeepResult(**values, reason=reason))  # type: ignore[arg-type]
    assert_names(sentence, "keep=0.95", *said)
    assert ("0.972" in sentence) == (step > 0)


def test_shares_of_answers() -> None:
    assert answer_shares(AnswerTypes(n=8, right=2, declined=1, made_up=5, silent=0)) == ["25%", "12%", "62%", "0%"]
