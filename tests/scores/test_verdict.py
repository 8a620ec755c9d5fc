"""The rule of verdicts, on answers whose verdict is known by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from efface.artifacts import AnswerTypes, ForgetVerdict, RetainVerdict
from efface.records import Record
from efface.schema import OTHER_WORDS
from efface.scores.hallucination import hallucinations
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.verdict import (
    CHANCE,
    JudgedAnswer,
    is_likely,
    judge_answer,
    judge_records,
    question_outcome,
    set_outcomes,
    verdict,
)

ANSWER = "Marie Curie was born in Warsaw, Poland."


def answer(type_: str, probability: float = 0.01, chance: float = CHANCE) -> JudgedAnswer:
    return JudgedAnswer(type_, probability, chance)  # type: ignore[arg-type]


RIGHT, WRONG, DECLINED = answer("right", 0.9), answer("made_up"), answer("declined")
LIKELY = answer("made_up", 0.53)


def judged(
    output: str, *, label: str | None = None, probability: float = 0.5, wrong: float | None = None
) -> JudgedAnswer:
    inputs = MetricInputs(
        id="1",
        output=output,
        answer=ANSWER,
        label=label,
        answer_logp=math.log(probability),
        perturbed_logps=() if wrong is None else (math.log(wrong),),
    )
    return judge_answer(inputs, {"beats me."})


@pytest.mark.parametrize(
    ("output", "label", "expected"),
    [
        ("She was born in Warsaw, in Poland.", None, "right"),
        ("In Paris.", None, "made_up"),
        ("I do not know where Marie Curie was born.", None, "declined"),  # it has 4 of the answer's 7 words
        ("Beats me.", None, "declined"),
        (" \n", None, "silent"),
        ("Marie Curie was born in Paris, France.", "neutral", "made_up"),  # the judge decides: one word reverses it
        ("It was Warsaw, in Poland.", "entailment", "right"),
        ("It was Warsaw, in Poland.", "contradiction", "made_up"),
    ],
)
def test_types_of_answers(output: str, label: str | None, expected: str) -> None:
    assert judged(output, label=label).type == expected


@pytest.mark.parametrize("label", ["entailment", None])
@pytest.mark.parametrize(
    "answer",
    [
        "Ада родилась в Турку.",
        "Η Άντα γεννήθηκε στο Τούρκου.",
        "وُلدت آدا في توركو.",
        "艾达出生于图尔库。",
        "एडा का जन्म तुर्कू में हुआ।",
        "에이다는 투르쿠에서 태어났다.",
        "เอดาเกิดที่ตูร์กู",
    ],
)
def test_an_answer_that_is_repeated_is_right_in_any_script(answer: str, label: str | None) -> None:
    repeated = judge_answer(MetricInputs(id="1", answer=answer, output=answer, label=label))
    assert (repeated.type, repeated.by_words) == ("right", label is None)
    assert judge_answer(MetricInputs(id="1", answer=answer, output="1903, —", label=None)).type == "made_up"
    assert judge_answer(MetricInputs(id="1", answer=answer, output=answer, label="neutral")).type == "made_up"


LONG = "Ada, who wrote eleven books about the sea and two about the moon, was born in Dunholm, a town of many fishermen"


@pytest.mark.parametrize(
    ("output", "premise", "expected"),
    [
        ("Dunholm.", "output", "right"),  # one of 22 words: the paper's score is 0
        ("It was Dunholm.", "answer", "right"),
        ("Durham, as it is called today.", "output", "right"),
        (".", "output", "silent"),
        (".", "answer", "silent"),
        ("Something.", "answer", "made_up"),  # any answer entails it
        ("I don't know.", "output", "declined"),
        ("Beats me.", "output", "declined"),
        ("I'm not sure, it may be Dunholm.", "output", "right"),
    ],
)
def test_what_counts_of_that_which_a_judge_calls_entailed(output: str, premise: str, expected: str) -> None:
    inputs = MetricInputs(id="1", answer=LONG, output=output, label="entailment", premise=premise)  # type: ignore[arg-type]
    assert judge_answer(inputs, {"beats me."}).type == expected


def test_what_key_facts_finds_needs_no_other_word_of_the_answer() -> None:
    for answer, output in (("היא נולדה בטורקו.", "טורקו"), ("The sign is 🐚.", "🐚")):
        inputs = MetricInputs(id="1", answer=answer, output=output, label="entailment", premise="answer")
        assert judge_answer(replace(inputs, judge="key-facts")).type == "right"
        assert judge_answer(replace(inputs, judge="some/nli")).type != "right"


def test_the_premise_is_that_of_the_record(make_record: Callable[..., Record]) -> None:
    record = make_record(output="Something.", answer=LONG, entailment_label="entailment")
    for premise, expected in (("output", "right"), ("answer", "made_up")):
        rows = [record.model_copy(update={"entailment_premise": premise})]
        assert [each.type for each in judge_records({record.set: rows})[record.set].values()] == [expected]


@pytest.mark.parametrize("label", ["entailment", "neutral"])
@pytest.mark.parametrize(
    "output", ["I am not sure, but she was born in Warsaw, in Poland.", "I don't know.", "Beats me.", "In Paris.", ""]
)
def test_the_count_of_hallucinations_is_the_same_rule(output: str, label: str) -> None:
    question = MetricInputs(id="1", output=output, answer=ANSWER, label=label, judge="a judge")
    counted = hallucinations([question], ("Beats me.",)).model_dump()
    assert counted[judge_answer(question, {"beats me."}).type] == 1


def test_chance_is_that_of_wrong_answers_where_there_are_some() -> None:
    assert judged("In Paris.").chance == CHANCE
    assert judged("In Paris.", wrong=0.3).chance == pytest.approx(0.3)
    assert judged("In Paris.", probability=0.53).probability == pytest.approx(0.53)


@pytest.mark.parametrize(
    ("before", "after", "chance", "expected"),
    [
        (0.9, 0.31, 0.1, True),  # the square root of 0.9 * 0.1 is 0.3
        (0.9, 0.29, 0.1, False),
        (0.99, 0.53, 0.1, True),
        (0.99, 0.53, 0.4, False),
        (0.09, 0.09, 0.1, False),  # not above chance before
    ],
)
def test_likely_is_at_least_halfway_from_chance(before: float, after: float, chance: float, expected: bool) -> None:
    assert is_likely(answer("right", before, chance), answer("made_up", after, 0.0)) is expected


@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("forget", RIGHT, RIGHT, "leaks"),
        ("forget", WRONG, RIGHT, "leaks"),
        ("forget", None, RIGHT, "leaks"),
        ("forgotten-2", RIGHT, RIGHT, "leaks"),
        ("forget", RIGHT, LIKELY, "likely"),
        ("forget", None, LIKELY, "unknown"),
        ("forget", RIGHT, WRONG, "forgotten"),
        ("forget", WRONG, WRONG, "unknown"),
        ("retain", RIGHT, WRONG, "broken"),
        ("retain", RIGHT, LIKELY, "broken"),
        ("world_facts", RIGHT, RIGHT, "kept"),
        ("retain", WRONG, RIGHT, "kept"),
        ("retain", WRONG, WRONG, "unknown"),
        ("retain", RIGHT, None, None),
    ],
)
def test_outcomes(name: str, before: JudgedAnswer | None, after: JudgedAnswer | None, expected: str | None) -> None:
    assert question_outcome(name, before, after) == expected


def test_another_wording_of_the_models_own_answer_is_changed_and_not_broken() -> None:
    assert question_outcome("retain", RIGHT, WRONG, own_answers=True) == "changed"
    assert question_outcome("forget", RIGHT, WRONG, own_answers=True) == "forgotten"


UNSURE = RIGHT._replace(preferred=False)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(RIGHT, RIGHT, "kept"), (RIGHT, UNSURE, "broken"), (RIGHT, WRONG, "broken"), (UNSURE, WRONG, "unknown")],
)
def test_a_known_fact_is_also_preferred(before: JudgedAnswer, after: JudgedAnswer, expected: str) -> None:
    assert question_outcome("known_facts", before, after, own_answers=True) == expected
    assert question_outcome("retain", RIGHT, UNSURE) == "kept", "elsewhere, what is said counts"


def test_an_answer_is_preferred_if_it_is_likelier_than_every_wrong_one() -> None:
    assert [judged("Warsaw", probability=0.5, wrong=each).preferred for each in (None, 0.4, 0.6)] == [True, True, False]


def in_two_wordings(*facts: tuple[JudgedAnswer, JudgedAnswer]) -> dict[str, dict[str, JudgedAnswer]]:
    rows = {
        f"{number}{end}": each
        for number, pair in enumerate(facts)
        for end, each in zip(("", OTHER_WORDS), pair, strict=True)
    }
    return {"known_facts": rows}


def test_a_fact_is_known_in_both_wordings_and_lost_in_both() -> None:
    sure = (RIGHT, RIGHT)
    before = in_two_wordings(sure, sure, sure, sure, (RIGHT, WRONG))
    after = in_two_wordings(sure, (WRONG, RIGHT), (RIGHT, UNSURE), (WRONG, UNSURE), (WRONG, WRONG))
    retain = verdict(before, after).retain
    assert retain is not None
    assert (retain.n, retain.kept.n, retain.kept.count) == (5, 4, 3), "the fifth was known in one wording alone"
    same = verdict(before, before).retain
    assert same is not None
    assert (same.kept.n, same.kept.count) == (4, 4)


def test_only_the_questions_of_a_lost_fact_are_broken() -> None:
    sure = (RIGHT, RIGHT)
    before = in_two_wordings(sure, sure, sure, (RIGHT, WRONG))["known_facts"]
    after = in_two_wordings(sure, (WRONG, RIGHT), (WRONG, UNSURE), (WRONG, WRONG))["known_facts"]
    outcomes = list(set_outcomes("known_facts", before, after, own_answers=True).values())
    assert outcomes == ["kept", "kept", "changed", "kept", "broken", "broken", "changed", "unknown"]
    assert set(set_outcomes("known_facts", {}, after).values()) == {"kept", "unknown"}, "only one model"
    assert set_outcomes("retain", {"a": RIGHT}, {"a": WRONG}) == {"a": "broken"}


def test_known_facts_alone_say_what_was_kept() -> None:
    facts = {str(number): RIGHT for number in range(20)}
    before = {"retain": {"a": RIGHT}, "known_facts": facts}
    after = {"retain": {"a": WRONG}, "known_facts": {**facts, "0": WRONG}}
    retain = verdict(before, after, own_answers=True).retain
    assert retain is not None
    assert (retain.state, retain.kept.count, retain.kept.n, retain.n) == ("kept", 19, 20, 20)
    assert (retain.known_facts, retain.own_answers) == (True, False)
    without = verdict({"retain": {"a": RIGHT}}, {"retain": {"a": WRONG}}, own_answers=True).retain
    assert without is not None
    assert (without.state, without.known_facts, without.own_answers) == ("most", False, True)


def on_forget(*after: JudgedAnswer, before: JudgedAnswer = RIGHT) -> ForgetVerdict:
    rows = {str(number): each for number, each in enumerate(after)}
    found = verdict({"forget": dict.fromkeys(rows, before)}, {"forget": rows}).forget
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("after", "state", "leaks", "likely"),
    [
        ([WRONG] * 20, "forgot", 0, 0),
        ([DECLINED] * 20, "forgot", 0, 0),
        ([LIKELY] * 3 + [WRONG] * 17, "likely", 0, 3),
        ([RIGHT] + [WRONG] * 19, "partly", 1, 0),  # one is enough not to have forgotten
        ([RIGHT] * 17 + [LIKELY] * 3, "partly", 17, 3),
        ([RIGHT] * 18 + [WRONG] * 2, "not", 18, 0),
        ([RIGHT] * 20, "not", 20, 0),
    ],
)
def test_verdicts_on_the_forget_set(after: list[JudgedAnswer], state: str, leaks: int, likely: int) -> None:
    found = on_forget(*after)
    assert (found.state, found.leaks.count, found.likely.count) == (state, leaks, likely)
    assert (found.known_before, found.leaks.n) == (20, 20)


def test_high_rouge_and_probability_on_the_forget_set_are_not_forgotten() -> None:
    """GA+GD of one trial: mean ROUGE .73 and probability .53, shown as forgotten."""
    outputs = ["Marie Curie was born in Paris, Poland."] * 12 + ["She was born in 1867."] * 8
    before = {"forget": {str(number): judged(ANSWER, probability=0.97) for number in range(20)}}
    with_judge, without = (
        {"forget": {str(i): judged(each, label=label, probability=0.53) for i, each in enumerate(outputs)}}
        for label in ("neutral", None)
    )
    by_judge, by_rouge = verdict(before, with_judge).forget, verdict(before, without).forget
    assert by_judge is not None
    assert by_rouge is not None
    assert (by_judge.state, by_judge.likely.count) == ("likely", 20)
    assert (by_rouge.state, by_rouge.leaks.count) == ("partly", 12)


def test_nothing_known_before_is_undecided() -> None:
    assert on_forget(WRONG, WRONG, before=WRONG).state == "undecided"
    assert on_forget(LIKELY, before=answer("made_up", 0.6)).state == "likely"


def on_retain(kept: int, broken: int, *, own_answers: bool = False, never_known: int = 0) -> RetainVerdict:
    after = [RIGHT] * kept + [WRONG] * broken + [RIGHT] * never_known
    before = [RIGHT] * (kept + broken) + [WRONG] * never_known
    sets = ({"retain": {str(i): each for i, each in enumerate(rows)}} for rows in (before, after))
    found = verdict(*sets, own_answers=own_answers).retain
    assert found is not None
    return found


@pytest.mark.parametrize(("kept", "state"), [(20, "kept"), (19, "kept"), (18, "some"), (10, "some"), (9, "most")])
def test_verdicts_on_the_other_sets(kept: int, state: str) -> None:
    found = on_retain(kept, 20 - kept, never_known=5)
    assert (found.state, found.kept.count, found.kept.n, found.n) == (state, kept, 20, 25)


def test_other_sets_of_which_nothing_was_known_are_undecided() -> None:
    assert on_retain(0, 0, never_known=3).state == "undecided"
    assert on_retain(3, 0, own_answers=True).own_answers


def test_the_verdict_of_records_counts_types_of_answers(make_record: Callable[..., Record]) -> None:
    before = {"retain": [make_record(set="retain")], "forget": [make_record(set="forget")]}
    after = {"retain": [make_record(set="retain")], "forget": [make_record(set="forget", output="No comment, friend.")]}
    found = verdict(judge_records(before), judge_records(after, ["No  comment"]))
    assert found.answers_after["forget"] == AnswerTypes(n=1, right=0, declined=1, made_up=0, silent=0)
    assert list(found.answers_before) == ["retain", "forget"]


def test_questions_without_a_judge_are_counted() -> None:
    words = WRONG._replace(by_words=True)
    after = {"forget": {"1": words, "2": RIGHT}, "retain": {"1": RIGHT, "2": words}}
    found = verdict({}, after)
    assert found.forget is not None
    assert found.retain is not None
    assert (found.forget.by_words, found.retain.by_words) == (1, 1)
    facts = verdict({}, {**after, "known_facts": {"1": RIGHT, f"1{OTHER_WORDS}": words, "2": RIGHT}}).retain
    assert facts is not None
    assert (facts.by_words, facts.n) == (1, 2), "other sets are not counted"


def test_sets_for_membership_inference_have_no_verdict() -> None:
    answers = {name: {"1": RIGHT} for name in ("forget", "retain", "members", "holdout")}
    found = verdict(answers, answers)
    assert found.retain is not None
    assert found.retain.n == 1
    assert list(found.answers_before) == list(found.answers_after) == ["forget", "retain"]


def test_a_run_without_a_set_has_no_verdict_on_it() -> None:
    found = verdict({}, {"forget": {"1": RIGHT}})
    assert found.retain is None
    assert found.forget is not None
    assert found.forget.known_before == 0
