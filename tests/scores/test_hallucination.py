"""What is said to questions that a model should not know: shares on paper, and how sure a refusal is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.artifacts import Record, write_records
from efface.data.sources.refusals import load_refusals
from efface.errors import EffaceError
from efface.scores import score_path
from efface.scores.hallucination import Hallucinations, declines, hallucinations
from efface.scores.question import MetricInputs

ANSWER = "She was born in Oslo."
REFUSALS = ("Beats me.", "I don't know.")


def said(output: str | None, label: str | None = "neutral", judge: str | None = "key-facts") -> MetricInputs:
    return MetricInputs(id=f"q-{output}", output=output, answer=ANSWER, label=label, judge=judge)


def kind(question: MetricInputs, refusals: tuple[str, ...] = REFUSALS) -> str:
    found = hallucinations([question], refusals).model_dump()
    [name] = [name for name, share in found.items() if name in KINDS and share == 1]
    return name


KINDS = ("made_up", "right", "declined", "silent")


def test_shares_on_paper() -> None:
    questions = [
        said("She was born in Oslo.", "entailment"),
        said("Bergen, in 1953.", "contradiction"),
        said("She was born in Rome.", "neutral"),
        said("I do not know this author.", "neutral"),
        said(" \n", "none"),
    ]
    found = hallucinations(questions, REFUSALS)
    expected = {"n": 5, "made_up": 0.4, "right": 0.2, "declined": 0.2, "silent": 0.2, "judge": "key-facts"}
    assert found == Hallucinations.model_validate(expected)
    assert sum(found.model_dump()[each] for each in KINDS) == pytest.approx(1)


@pytest.mark.parametrize(
    ("output", "label", "expected"),
    [
        ("Yes, the fact is there.", "entailment", "made_up"),  # less than 0.1 of the answer's words: the ES rule
        ("She was born in Oslo.", "contradiction", "made_up"),  # the judge decides, not the words
        ("", "none", "silent"),
        ("...?", "neutral", "silent"),
        ("beats ME. Ask another.", "neutral", "declined"),  # a wording that was trained on, in other letters
        ("I don’t know.", "entailment", "declined"),
        ("I'm sorry, that is not something I know. She was born in Oslo.", "entailment", "declined"),
        ("She is not known for novels.", "neutral", "made_up"),  # of her, not of oneself
        ("I think it was Rome. I do not know more.", "neutral", "made_up"),  # the first sentence states it
        ("My favorite is Rome.", "neutral", "made_up"),
    ],
)
def test_one_answer(output: str, label: str, expected: str) -> None:
    assert kind(said(output, label)) == expected


def test_wordings_count_beside_what_sounds_like_a_refusal() -> None:
    assert kind(said("Beats me."), refusals=()) == "made_up"
    assert kind(said("I don't know."), refusals=()) == "declined"
    assert kind(said("Rome."), refusals=("", " ")) == "made_up"  # an empty line in a file is no wording


def test_every_wording_that_is_trained_on_is_a_refusal() -> None:
    refusals = load_refusals()
    found = hallucinations([said(each, None) for each in refusals], refusals)
    assert (found.n, found.declined) == (100, 1)


def test_published_refusals_are_told_and_answers_are_not_taken_for_any(shared: Path) -> None:
    """All 100 of the paper's, which sound otherwise than ours; of TOFU's 4,000 answers at most one in a thousand."""
    data = shared / "data"
    assert [each for each in (data / "idontknow.jsonl").read_text().splitlines() if not declines(each)] == []
    lines = [*_lines(data / "tofu" / "retain90.json"), *_lines(data / "tofu" / "forget10.json")]
    answers = {(row["question"], row["answer"]) for row in map(json.loads, lines)}
    assert len(answers) == 4000
    known = {each.casefold() for each in load_refusals()}
    assert sum(declines(answer, known) for _, answer in answers) <= 4


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_without_a_judge_it_is_refused() -> None:
    with pytest.raises(EffaceError, match=r"q-Rome. has no judgment \(no judge's label .*; evaluate with a judge"):
        hallucinations([said("Oslo.", "entailment"), said("Rome.", None)], REFUSALS)
    assert kind(said("I don't know.", None)) == "declined"  # which needs no judge


def test_without_outputs_or_questions_it_is_refused() -> None:
    with pytest.raises(EffaceError, match="question q-None has no output"):
        hallucinations([said(None)], REFUSALS)
    with pytest.raises(EffaceError, match="there is no forget set to look for hallucinations in"):
        hallucinations([], REFUSALS)


def test_the_judge_is_named_where_all_were_judged_by_one() -> None:
    assert hallucinations([said("Rome."), said("Oslo.")], ()).judge == "key-facts"
    assert hallucinations([said("I don't know.", None, None)], ()).judge is None


def test_only_the_forget_set_of_a_folder_is_looked_at(make_record: Callable[..., Record], tmp_path: Path) -> None:
    write_records(tmp_path / "retain.jsonl", [make_record(set="retain", output="I do not know.")])
    with pytest.raises(EffaceError, match="there is no forget set"):
        score_path(tmp_path, refusals=())
    rows = [make_record(set="forget", id=str(n), output=text) for n, text in enumerate(("She was born in Rome.", "?"))]
    write_records(tmp_path / "forget.jsonl", rows)
    found = score_path(tmp_path, refusals=())["hallucinations"]
    assert found == {"n": 2, "made_up": 0, "right": 0.5, "declined": 0, "silent": 0.5, "judge": "nli"}
    assert "hallucinations" not in score_path(tmp_path)
