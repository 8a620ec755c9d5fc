"""One model scored: the same records and scores as in a run."""

from __future__ import annotations

import json

import pytest

from efface.commands.evaluate import evaluate_model, records_before
from efface.config.commands import EvaluationConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets, write_record_sets
from efface.run.pipeline import run
from efface.scores import score_path
from support.answered import answered
from support.runs import Told


@pytest.fixture
def config(settings):
    """The part of a run's settings that an evaluation has."""
    own = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
    return lambda **changes: validate_config(EvaluationConfig, merge_settings(own, changes))


def test_a_model_has_the_scores_that_a_run_gives_it(config, settings, tmp_path):
    results = run(validate_config(RunConfig, settings), tmp_path / "run")
    before = evaluate_model(config(), tmp_path / "before")
    assert before == results.before
    model = str(tmp_path / "run" / "model")
    earlier = read_record_sets(tmp_path / "before" / "records")
    after = evaluate_model(config(model=model, definition="paper"), tmp_path / "after", before=earlier)
    assert after.sets["forget"].rouge == results.after.sets["forget"].rouge
    assert read_record_sets(tmp_path / "after" / "records") == read_record_sets(tmp_path / "run" / "records" / "after")


def test_models_are_questioned_in_the_precision_that_is_set(config, settings, tmp_path):
    in_half = {"evaluate": {"precision": "bf16"}}
    run(validate_config(RunConfig, merge_settings(settings, in_half)), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["precision"].endswith(", evaluation bfloat16")
    records = {}
    for stage, model in (("before", settings["model"]), ("after", str(tmp_path / "run" / "model"))):
        evaluate_model(config(model=model, **in_half), tmp_path / stage)
        records[stage] = read_record_sets(tmp_path / stage / "records")["forget"]
        made = read_record_sets(tmp_path / "run" / "records" / stage)["forget"]
        assert [each.answer_logprobs for each in made] == [each.answer_logprobs for each in records[stage]]
    assert json.loads((tmp_path / "before" / "manifest.json").read_text())["precision"] == "evaluation bfloat16"
    evaluate_model(config(), tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "manifest.json").read_text())["precision"] == "evaluation float32"
    whole = read_record_sets(tmp_path / "whole" / "records")["forget"]
    assert all(a.answer_logprobs != b.answer_logprobs for a, b in zip(whole, records["before"], strict=True))


def test_its_folder_can_be_scored_again(config, tmp_path):
    told = Told()
    scores = evaluate_model(config(), tmp_path / "out", reporter=told)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.yaml",
        "manifest.json",
        "records",
        "scores.json",
    ]
    stored = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (stored.pop("schema"), stored.pop("definition")) == (1, "closer-look")
    assert stored == scores.model_dump()
    assert score_path(tmp_path / "out")["sets"] == stored["sets"]
    assert score_path(tmp_path / "out", definition="tofu")["forget_efficacy"] is None
    assert any("cosine_similarity will be missing" in warning for warning in told.warnings)


def test_a_model_is_not_compared_with_its_own_answers(config):
    with pytest.raises(
        EffaceError, match=r"retain=model-answers would compare the model with its own answers.* data\.retain=RUN"
    ):
        config(data={"source": "files", "forget": "f.jsonl", "retain": "model-answers"})


def test_a_folder_that_holds_something_is_refused(config, tmp_path):
    (tmp_path / "there.txt").write_text("mine")
    with pytest.raises(EffaceError, match="is not empty and contains no run"):
        evaluate_model(config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there.txt"]


@pytest.mark.parametrize("place", ["run", "run/records/before", "evaluation", "evaluation/records"])
def test_records_before_unlearning_are_found_in_any_of_these_folders(tmp_path, place):
    sets = answered(0, n=1, names=("forget",))
    write_record_sets(tmp_path / "run" / "records" / "before", sets)
    write_record_sets(tmp_path / "run" / "records" / "after", answered(1, n=1, names=("forget",)))
    write_record_sets(tmp_path / "evaluation" / "records", sets)
    assert records_before(tmp_path / place) == sets


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "--before: there is no folder .*folder"),
        (
            ["notes.txt"],
            "has no records of a model before unlearning; give the folder of `efface run`",
        ),
        (["manifest.json", "forget.jsonl"], "--before: .*folder has no records of a model before unlearning"),
    ],
)
def test_folders_without_records_before_unlearning(tmp_path, files, message):
    for name in files or ():
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).touch()
    with pytest.raises(EffaceError, match=message):
        records_before(tmp_path / "folder")
