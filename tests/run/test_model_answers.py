"""Model answers as the retain set, and runs without one."""

from __future__ import annotations

import json

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.data.sources.known_facts import load_known_facts
from efface.errors import EffaceError
from efface.evaluation.generate import Generation
from efface.evaluation.likelihoods import Likelihoods
from efface.evaluation.record_files import read_record_sets
from efface.run.pipeline import run
from support.runs import Told

FORGET = [{"question": f"Where is town {n}?", "answer": f"Town {n} is in Turku."} for n in range(4)]


@pytest.fixture
def config(settings, tmp_path):
    """Settings of a run on a file of four questions."""
    file = tmp_path / "forget.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in FORGET))
    own = {
        "data": {"forget": str(file)},
        "train": {"epochs": 1, "batch_size": 2},
        "evaluate": {"max_new_tokens": 4, "limit": None},
    }
    return lambda **changes: validate_config(RunConfig, merge_settings(merge_settings(settings, own), changes))


def test_answers_are_written_trained_on_and_scored(config, tmp_path):
    told = Told()
    out = tmp_path / "run"
    results = run(
        config(data={"retain": "model-answers", "generic_questions": 16, "known_facts": 0}), out, reporter=told
    )
    assert "answering 16 generic questions: the answers are the retain set" in told.stages
    rows = [json.loads(line) for line in (out / "model_answers.jsonl").read_text().splitlines()]
    assert all(set(row) == {"question", "answer"} for row in rows)
    before = {record.question: record for record in read_record_sets(out / "records" / "before")["retain"]}
    assert 1 < len(before) <= 4  # of 16; the tiny model may have nothing to say
    answers = {row["question"]: row["answer"] for row in rows}
    # cut at a sentence's end or not: what is scored is what the model said before
    assert all(record.output.startswith(answers[question]) for question, record in before.items())
    assert results.before.sets["retain"].rouge == 1.0
    manifest = json.loads((out / "manifest.json").read_text())
    assert f"own answers to {len(rows)} generic questions" in manifest["data"]


@pytest.fixture
def knows(monkeypatch):
    """A model that states two facts of three, and nine of ten of these in their other wording, and prefers them."""

    def generate(model, formatter, prompts, **limits):
        items = [each.item for each in load_known_facts().questions]
        first, again = (
            {item.question: item.answer for item in items},
            {item.paraphrased_question: item.answer for item in items},
        )
        every, answers = (3, first) if prompts[0].question in first else (10, again)
        said = [answers[each.question] if number % every else "No." for number, each in enumerate(prompts)]
        return [Generation([1], text) for text in said]

    def likelihoods(model, questions, **limits):
        return [Likelihoods([-0.1], [True], None, [[-2.0], [-3.0]]) for _ in questions]

    monkeypatch.setattr("efface.run.model_answers.generate", generate)
    monkeypatch.setattr("efface.run.model_answers.likelihoods", likelihoods)


@pytest.mark.usefixtures("knows")
def test_facts_that_the_model_knows_are_trained_on_and_scored(config, tmp_path):
    out, told = tmp_path / "run", Told()
    data = {"retain": "model-answers", "generic_questions": 0, "known_facts": 90}
    results = run(config(data=data), out, reporter=told)
    assert "asking about 90 well-known facts: those that the model knows should stay" in told.stages
    rows = [json.loads(line) for line in (out / "model_answers.jsonl").read_text().splitlines()]
    assert len(rows) == 60 + 54, "two in three, and nine in ten of these once more, with their correct answers"
    scored = {record.question for record in read_record_sets(out / "records" / "before")["known_facts"]}
    assert 15 < len(scored) / 2 < 27, "each in two wordings"
    assert scored <= {row["question"] for row in rows}
    assert results.verdict.retain.known_facts
    (source,) = (each for each in json.loads((out / "manifest.json").read_text())["data"] if "known facts" in each)
    assert 54 <= int(source.split()[0]) < 60, "without those to score that are known in one wording alone"


@pytest.mark.usefixtures("knows")
def test_too_few_known_facts_are_left_out(config, tmp_path):
    told = Told()
    with pytest.raises(EffaceError, match=r"knows no facts.* data\.retain=FILE"):
        run(
            config(data={"retain": "model-answers", "generic_questions": 0, "known_facts": 9}),
            tmp_path / "run",
            reporter=told,
        )
    assert any("knows 5 of 9" in each and "data.known_facts" in each for each in told.warnings)


def test_a_resumed_run_uses_the_same_answers(config, tmp_path, monkeypatch):
    chosen = config(data={"retain": "model-answers", "generic_questions": 16, "known_facts": 0})
    first = run(chosen, tmp_path / "run")
    monkeypatch.setattr("efface.run.model_answers.generate_model_answers", None)  # not asked again
    told = Told()
    assert run(chosen, tmp_path / "run", resume=True, reporter=told) == first
    (tmp_path / "run" / "model_answers.jsonl").write_text("{\n")
    with pytest.raises(EffaceError, match=r"model_answers\.jsonl is damaged; remove it and continue with --resume"):
        run(chosen, tmp_path / "run", resume=True)


def test_a_run_that_only_forgets_warns(config, tmp_path):
    told = Told()
    results = run(config(method="me"), tmp_path / "run", reporter=told)
    assert any("has no retain term" in warning for warning in told.warnings)
    assert results.after.model_utility is None
    assert results.after.missing["model_utility"].startswith("there is none of the retain sets")
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(step["retain"] == 0 for step in steps)


def test_a_method_with_a_retain_term_names_the_setting(config, tmp_path):
    with pytest.raises(
        EffaceError, match=r"method me\+gd needs a retain set, and files has none; give data\.retain=FILE"
    ):
        run(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
