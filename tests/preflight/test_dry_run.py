"""A dry run's numbers are those of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from efface.commands.finetune import finetune
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.preflight.dry_run import DryRun, plan_evaluation, plan_finetuning, plan_queue, plan_run
from efface.progress.reporter import SilentReporter
from efface.run.pipeline import unlearn

MODEL = Path(__file__).parents[1] / "golden" / "model"
DATA = {"source": "synthetic-authors", "authors": 3, "forget_authors": 1, "retain_evaluation": 7}
SHARED = {"model": str(MODEL), "text": {"format": "plain"}, "device": "cpu", "data": DATA}
RUN = {**SHARED, "method": "npo+kl", "train": {"epochs": 3, "batch_size": 6}}
JUDGES = {"embedder": "none", "judge": "key-facts", "limit": 5, "max_new_tokens": 4}


def planned_run(settings: dict[str, object], out: Path, *, evaluated: bool = False) -> DryRun:
    config = validate_config(RunConfig, settings)
    return plan_run(config, out, data_dir=None, resume=False, reporter=SilentReporter(), evaluated=evaluated)


def logged(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def tensors(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_unlearning(tmp_path: Path, lora: dict[str, int] | None) -> None:
    settings = {**RUN, "train": {"epochs": 3, "batch_size": 6, "lora": lora}}
    planned = planned_run(settings, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    unlearn(validate_config(RunConfig, settings), tmp_path / "out")
    done = logged(tmp_path / "out")
    assert planned.training is not None
    assert planned.training.schedule.steps == len(done) == done[0]["steps"]
    assert planned.training.tokens == sum(step["tokens"] for step in done)
    weights = tmp_path / "out" / "model" / "model.safetensors"
    assert planned.parameters == tensors(weights)
    adapter = tmp_path / "out" / "adapter" / "adapter_model.safetensors"
    assert planned.training.trained == (tensors(adapter) if lora else planned.parameters)
    assert planned.data == "synthetic-authors-1-of-3: 20 forget items, 40 retain items"
    assert (planned.scored, planned.missing) == ({}, {})


def test_checkpoints_count(tmp_path: Path) -> None:
    def written(**train: int) -> int:
        return planned_run({**RUN, "train": {"batch_size": 20, **train}}, tmp_path / "out").bytes_written

    one_step = written(epochs=1)
    parameters = planned_run(RUN, tmp_path / "out").parameters
    assert one_step == parameters * 8  # the golden model is stored in float64
    checkpoint = parameters * 12
    assert written(epochs=2) == one_step + checkpoint
    assert written(epochs=9) == one_step + 2 * checkpoint  # the last one stays until the next is complete
    assert written(epochs=9, save_steps=9) == one_step


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_epochs_that_are_not_scored_yet_count(tmp_path: Path, lora: dict[str, int] | None) -> None:
    """What was trained by the end of each epoch but the last, and one model."""

    def planned(*, evaluated: bool = True, **evaluate: str) -> DryRun:
        train = {"batch_size": 20, "epochs": 3, "lora": lora}
        settings = {**RUN, "train": train, "evaluate": {**JUDGES, **evaluate}}
        return planned_run(settings, tmp_path / "out", evaluated=evaluated)

    without, found = planned(), planned(every="epoch")
    assert found.training is not None
    kept = 2 * found.training.trained * (4 if lora else 8)  # the golden model is stored in float64
    assert found.bytes_written == without.bytes_written + found.parameters * 8 + kept
    assert planned(every="epoch", evaluated=False).bytes_written == without.bytes_written


def test_the_best_epoch_is_refused_as_in_the_run(tmp_path: Path) -> None:
    settings = {**RUN, "evaluate": {**JUDGES, "every": "epoch", "select_epoch": "best"}}
    planned_run(settings, tmp_path / "out", evaluated=True)
    with pytest.raises(EffaceError, match="the definition tofu has no forget efficacy"):
        planned_run({**settings, "definition": "tofu"}, tmp_path / "out", evaluated=True)
    with pytest.raises(EffaceError, match="select_epoch=best needs scores of every epoch; use efface run"):
        planned_run(settings, tmp_path / "out")


def test_what_is_scored_and_what_is_missing(tmp_path: Path) -> None:
    planned = planned_run({**RUN, "evaluate": JUDGES}, tmp_path / "out", evaluated=True)
    assert planned.scored == {"forget": 5, "retain": 5}
    assert planned.missing == {"cosine_similarity": "switched off by evaluate.embedder=none"}
    config = validate_config(EvaluationConfig, {**SHARED, "evaluate": JUDGES})
    alone = plan_evaluation(config, tmp_path / "out", data_dir=None, before=None, reporter=SilentReporter())
    assert (alone.scored, alone.missing, alone.training) == (planned.scored, planned.missing, None)
    with pytest.raises(EffaceError, match="the records from before unlearning"):
        plan_evaluation(config, tmp_path / "out", data_dir=None, before={"forget": []}, reporter=SilentReporter())


def test_answers_of_the_model_are_not_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def generating(*_: object, **__: object) -> None:
        raise AssertionError("a dry run asks the model nothing")

    monkeypatch.setattr("efface.run.model_answers.generate", generating)
    (tmp_path / "forget.jsonl").write_text('{"question": "Who?", "answer": "Ann."}\n')
    data = {
        "forget": str(tmp_path / "forget.jsonl"),
        "retain": "model-answers",
        "generic_questions": 40,
        "known_facts": 0,
    }
    planned = planned_run({**RUN, "data": data}, tmp_path / "out")
    assert planned.data == "files: 1 forget items, 30 retain items"
    assert planned.notes


def test_fine_tuning(tmp_path: Path) -> None:
    config = validate_config(FinetuneConfig, {**SHARED, "train": {"epochs": 2, "batch_size": 20}})
    planned = plan_finetuning(config, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())
    assert list(tmp_path.iterdir()) == []
    finetune(config, tmp_path / "out")
    done = logged(tmp_path / "out")
    assert planned.training is not None
    assert (planned.training.schedule.steps, planned.data) == (len(done), "60 items to learn")
    assert planned.training.tokens == sum(step["tokens"] for step in done)


def test_fine_tuning_without_the_forget_set(tmp_path: Path) -> None:
    config = validate_config(FinetuneConfig, {**SHARED, "without": "forget", "train": {"epochs": 1, "batch_size": 20}})
    planned = plan_finetuning(config, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())
    assert planned.data == "40 items to learn"


@pytest.mark.parametrize(("keep_models", "models"), [("last", 2), ("all", 3)])
def test_several_requests(tmp_path: Path, keep_models: str, models: int) -> None:
    """The training shown is that of the first request; a model stays until the next one is saved."""
    continual = {"requests": [1, 2, 3], "keep_models": keep_models}
    train = {"epochs": 1, "batch_size": 20}
    settings = {**RUN, "data": {**DATA, "authors": 4}, "train": train, "evaluate": JUDGES, "continual": continual}
    config = validate_config(RunConfig, settings)
    planned = plan_queue(config, tmp_path / "out", data_dir=None, resume=False, reporter=SilentReporter())
    assert planned.training is not None
    assert (planned.training.schedule.steps, planned.bytes_written) == (1, models * planned.parameters * 8)
    assert planned.scored == {"forget": 5, "forgotten-1": 5, "forgotten-2": 5, "retain": 3}
    [note] = planned.notes
    assert note.startswith("3 requests, 0 of them done, 3 optimizer steps in total")
