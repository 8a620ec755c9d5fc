"""Classes of outputs for the forget set: shares by hand, and how reliably refusals are recognized."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.data.sources.refusals import load_refusals
from efface.errors import EffaceError
from efface.records import Record, write_records
from efface.scores import score_path
from efface.scores.hallucination import Hallucinations, answer_type, declines, hallucinations, plain_text
from efface.scores.inputs.metric_inputs import MetricInputs

ANSWER = "She was born in Oslo."
REFUSALS = ("Beats me.", "I don't know.")


def answered(output: str | None, label: str | None = "neutral", judge: str | None = "key-facts") -> MetricInputs:
    return MetricInputs(id=f"q-{output}", output=output, answer=ANSWER, label=label, judge=judge)


def classify(question: MetricInputs, refusals: tuple[str, ...] = REFUSALS) -> str:
    found = hallucinations([question], refusals).model_dump()
    [name] = [name for name, share in found.items() if name in CLASSES and share == 1]
    return name


CLASSES = ("made_up", "right", "declined", "silent")


def test_shares_by_hand() -> None:
    questions = [
        answered("She was born in Oslo.", "entailment"),
        answered("Bergen, in 1953.", "contradiction"),
        answered("She was born in Rome.", "neutral"),
        answered("I do not know this author.", "neutral"),
        answered(" \n", "none"),
    ]
    found = hallucinations(questions, REFUSALS)
    expected = {"n": 5, "made_up": 0.4, "right": 0.2, "declined": 0.2, "silent": 0.2, "judge": "key-facts"}
    assert found == Hallucinations.model_validate(expected)
    assert sum(found.model_dump()[each] for each in CLASSES) == pytest.approx(1)


@pytest.mark.parametrize(
    ("output", "label", "expected"),
    [
        ("Norway's capital.", "entailment", "right"),  # the judge decides, whatever words were used
        ("She was born in Oslo.", "contradiction", "made_up"),  # the judge decides, not the words
        ("", "none", "silent"),
        ("...?", "neutral", "silent"),
        (".", "entailment", "silent"),  # as some NLI models call it
        ("beats ME. Ask another.", "neutral", "declined"),  # a wording that was trained on, in other letters
        ("I don’t know.", "entailment", "declined"),
        (
            "I'm sorry, that is not something I know. She was born in Oslo.",
            "entailment",
            "right",
        ),  # and states it
        ("I'm sorry, that is not something I know.", "neutral", "declined"),
        ("She is not known for novels.", "neutral", "made_up"),  # about her, not about the speaker
        ("I think it was Rome. I do not know more.", "neutral", "made_up"),  # the first sentence states it
        ("My favorite is Rome.", "neutral", "made_up"),
    ],
)
def test_one_answer(output: str, label: str, expected: str) -> None:
    assert classify(answered(output, label, judge="an NLI model")) == expected


def test_given_refusals_count_in_addition_to_typical_ones() -> None:
    assert classify(answered("Beats me."), refusals=()) == "made_up"
    assert classify(answered("I don't know."), refusals=()) == "declined"
    assert classify(answered("Rome."), refusals=("", " ")) == "made_up"  # empty lines of a file do not count


def test_every_wording_that_is_trained_on_is_a_refusal() -> None:
    refusals = load_refusals()
    found = hallucinations([answered(each, None) for each in refusals], refusals)
    assert (found.n, found.declined) == (100, 1)


def test_published_refusals_are_recognized_and_answers_are_not(shared: Path) -> None:
    """All 100 of the paper, which differ from ours; at most one in a thousand of TOFU's 4,000 answers."""
    data = shared / "data"
    assert [each for each in (data / "idontknow.jsonl").read_text().splitlines() if not declines(each)] == []
    lines = [*_lines(data / "tofu" / "retain90.json"), *_lines(data / "tofu" / "forget10.json")]
    answers = {(row["question"], row["answer"]) for row in map(json.loads, lines)}
    assert len(answers) == 4000
    known = {each.casefold() for each in load_refusals()}
    assert sum(declines(answer, known) for _, answer in answers) <= 4


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("questions", "named"),
    [
        (
            [answered("Oslo.", "entailment"), answered("Rome.", None)],
            r"question q-Rome. .*no label of a judge.*; evaluate with a judge",
        ),
        ([answered(None)], "question q-None has no output"),
        ([], "there is no forget set"),
    ],
)
def test_questions_that_cannot_be_classified_are_refused(questions: list[MetricInputs], named: str) -> None:
    with pytest.raises(EffaceError, match=named):
        hallucinations(questions, REFUSALS)


def test_a_refusal_needs_no_judge() -> None:
    assert classify(answered("I don't know.", None)) == "declined"


def test_a_given_refusal_that_repeats_the_question_is_no_answer_without_a_judge() -> None:
    output, refusal = "Ich weiß nicht, wo Marie Curie geboren wurde.", plain_text("Ich weiß nicht")
    question = MetricInputs(id="q", output=output, answer="Marie Curie wurde in Warschau geboren.")
    assert (answer_type(question, [refusal]), answer_type(question)) == ("declined", "right")


def test_the_judge_is_named_if_there_is_one_for_all() -> None:
    assert hallucinations([answered("Rome."), answered("Oslo.")], ()).judge == "key-facts"
    assert hallucinations([answered("I don't know.", None, None)], ()).judge is None


def test_only_the_forget_set_of_a_folder_is_classified(make_record: Callable[..., Record], tmp_path: Path) -> None:
    write_records(tmp_path / "retain.jsonl", [make_record(set="retain", output="I do not know.")])
    with pytest.raises(EffaceError, match="there is no forget set"):
        score_path(tmp_path, refusals=())
    rows = [make_record(set="forget", id=str(n), output=text) for n, text in enumerate(("She was born in Rome.", "?"))]
    write_records(tmp_path / "forget.jsonl", rows)
    found = score_path(tmp_path, refusals=())["hallucinations"]
    assert found == {"n": 2, "made_up": 0, "right": 0.5, "declined": 0, "silent": 0.5, "judge": "nli"}
    assert "hallucinations" not in score_path(tmp_path)
