"""The headline of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.report.page.load_run import load_report_run
from efface.report.page.summary import (
    Summary,
    aggregates_by_stage,
    partial_metrics,
    scores_by_stage,
    summarize,
)
from support.reports import (
    Answer,
    correct,
    records,
    start_run,
    write_evaluation,
    write_queue,
    write_run,
    write_steps,
    wrong,
)


def correct_up_to(last: int) -> Answer:
    return lambda number: correct(number) if number <= last else wrong(number)


def test_the_models_own_earlier_answer_is_no_right_answer(tmp_path: Path) -> None:
    path = write_run(tmp_path, records(retain=(20, correct)), records(retain=(20, wrong)))
    assert "correctly" in summarize(load_report_run(path)).retain_sentence
    with (path / "config.yaml").open("a") as file:
        file.write("data:\n  retain: model-answers\n")
    found = summarize(load_report_run(path))
    assert found.retain_sentence.startswith("It answers most of the rest differently: 0 of 20 answers")
    assert found.verdict.retain is not None
    assert found.verdict.retain.own_answers


def summary(path: Path, forget: Answer, retain: Answer, before: Answer = correct) -> Summary:
    """Of a model that answers so, before and after unlearning; 20 questions per set."""
    first = records(forget=(20, before), retain=(20, before))
    run = load_report_run(write_run(path, first, records(forget=(20, forget), retain=(20, retain))))
    return summarize(run)


@pytest.mark.parametrize(
    ("forget", "retain", "verdicts", "tones"),
    [
        (wrong, correct, ("It forgot: ", "It kept the rest: "), ("good", "good")),
        (correct, wrong, ("It did not forget: ", "It lost most of the rest: "), ("bad", "bad")),
        (correct_up_to(8), correct_up_to(15), ("It forgot in part: ", "It lost some of the rest: "), ("bad", "part")),
    ],
)
def test_verdicts(
    tmp_path: Path, forget: Answer, retain: Answer, verdicts: tuple[str, str], tones: tuple[str, str]
) -> None:
    found = summary(tmp_path, forget, retain)
    assert found.forget_sentence.startswith(verdicts[0])
    assert found.retain_sentence.startswith(verdicts[1])
    assert found.tones == tones


def test_words_that_decided_are_said(tmp_path: Path) -> None:
    before, after = (
        {name: [each.model_copy(update={"entailment_label": None, "judge": None}) for each in rows]}
        for answer in (correct, wrong)
        for name, rows in records(forget=(20, answer)).items()
    )
    assert summarize(load_report_run(write_run(tmp_path, before, after))).words_note.startswith("Judged by words alone")
    assert summary(tmp_path / "judged", wrong, correct).words_note == ""


def test_sentences_have_the_counts(tmp_path: Path) -> None:
    found = summary(tmp_path, forget=correct_up_to(8), retain=correct_up_to(15))
    assert found.forget_sentence == (
        "It forgot in part: of 20 questions to forget, it answered 20 correctly before and 8 after (40 %, 95 % "
        "interval 22 to 61 %)."
    )
    assert found.retain_sentence == (
        "It lost some of the rest: of 20 questions of the other sets, it kept 15 of the 20 that it answered correctly "
        "before (75 %, 95 % interval 53 to 89 %)."
    )
    assert (found.leaks.count, found.leaks.n, found.kept.count, found.kept.n) == (8, 20, 15, 20)


def test_a_model_that_knew_nothing_is_undecided(tmp_path: Path) -> None:
    found = summary(tmp_path, forget=wrong, retain=wrong, before=wrong)
    assert "none of the 20 questions to forget was answered correctly before" in found.forget_sentence
    assert "None of the 20 questions of the other sets was answered correctly before" in found.retain_sentence
    assert found.tones == ("open", "open")


def test_an_unfinished_run_is_undecided(tmp_path: Path) -> None:
    start_run(tmp_path)
    write_steps(tmp_path, 3, steps=9)
    run = load_report_run(tmp_path)
    found = summarize(run)
    assert "not scored yet" in found.forget_sentence
    assert "not scored yet" in found.retain_sentence
    assert found.tones == ("open", "open")
    assert aggregates_by_stage(run, partial=False) == {}


def test_a_run_without_one_of_the_sets(tmp_path: Path) -> None:
    for name, sentence in (("forget", "There is no forget set"), ("retain", "no set except the forget set")):
        sets = {key: (4, correct) for key in ("forget", "retain") if key != name}
        run = load_report_run(write_run(tmp_path / name, records(**sets), records(**sets)))
        found = summarize(run)
        assert sentence in (found.forget_sentence if name == "forget" else found.retain_sentence)


def test_an_evaluation(tmp_path: Path) -> None:
    run = load_report_run(write_evaluation(tmp_path))
    found = summarize(run)
    assert found.forget_sentence == (
        "It answers 0 of the 10 questions to forget correctly (0 %, 95 % interval 0 to 28 %). These are only 10 "
        "questions: take it as a hint."
    )
    assert found.retain_sentence == "It answers 20 of the 20 questions of the other sets correctly."


def test_a_queue_has_the_mean_over_its_requests_so_far(tmp_path: Path) -> None:
    run = load_report_run(write_queue(tmp_path))
    assert run.queue is not None
    first, second = run.queue.forget_efficacy
    found = aggregates_by_stage(run, partial=False)
    assert list(found) == ["before", "after request 1", "after"]
    before, middle, after = (each.forget_efficacy for each in found.values())
    assert before == (first[0] + second[0]) / 2  # type: ignore[operator]
    assert middle == first[1]
    assert after == (first[2] + second[2]) / 2  # type: ignore[operator]


def test_partial_aggregates_where_a_metric_is_missing(tmp_path: Path) -> None:
    sets = records(forget=(4, correct), retain=(4, correct))
    run = load_report_run(write_run(tmp_path / "complete", sets, sets))
    assert partial_metrics([scores for _, scores in scores_by_stage(run)]) is None
    without = {
        name: [each.model_copy(update={"judge": None, "entailment_label": None}) for each in rows]
        for name, rows in sets.items()
    }
    run = load_report_run(write_run(tmp_path / "partial", without, without))
    assert partial_metrics([scores for _, scores in scores_by_stage(run)]) == [
        ["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity"]
    ]
    assert aggregates_by_stage(run, partial=False)["after"].model_utility is None
    assert aggregates_by_stage(run, partial=True)["after"].model_utility is not None
