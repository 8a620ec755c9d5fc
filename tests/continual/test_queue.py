"""Requests in turn: each is a run from the model that the last one left, and all that was forgotten is scored again."""

from __future__ import annotations

import gc
import json
import weakref
from statistics import fmean

import pytest
import torch
from safetensors.torch import load_file

from efface.artifacts import ContinualResults, Results
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, read_yaml, validate_config
from efface.continual import first_model
from efface.continual import queue as run_queues
from efface.continual.queue import run_queue
from efface.evaluation.evaluate import evaluate
from efface.evaluation.record_files import read_record_sets
from efface.models import open
from efface.models.load import load_model
from efface.run.pipeline import run, unlearn
from efface.scores import score_records
from support.runs import Told

pytestmark = pytest.mark.usefixtures("quick_collection")

CASES = {
    "previous": {},
    "first": {"continual": {"requests": [1, 2], "reference": "first"}},
    "first with adapters": {
        "method": "dpo+kl",
        "train": {"lora": {"r": 2, "dropout": 0.3}},
        "continual": {"requests": [1, 2], "reference": "first"},
    },
}


def author(number):
    """The questions about the author of that number, counted from 1."""
    return f"author/{number:03d}/"


def weights(folder):
    [file] = folder.glob("*.safetensors")
    return load_file(file)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def queues(queue_settings, tmp_path_factory):
    """The finished queue of a case: its settings, folder and results; not to be changed."""
    made = {}

    def make(case):
        if case not in made:
            config = validate_config(RunConfig, merge_settings(queue_settings, CASES[case]))
            out = tmp_path_factory.mktemp("queue") / "all"
            made[case] = config, out, run_queue(config, out)
        return made[case]

    return make


@pytest.fixture(scope="module")
def complete(queues):
    """The queue of three requests."""
    return queues("previous")


# What is trained


@pytest.mark.parametrize("case", CASES)
def test_a_queue_is_a_chain_of_single_runs(queues, tmp_path, case):
    config, out, _ = queues(case)
    requests = config.continual.requests
    model = config.model
    for place, task in enumerate(requests):
        single = {
            **config.model_dump(mode="json", exclude={"continual", "data"}),
            "model": model,
            "data": {**config.data.model_dump(exclude={"task"}), "task": task, "forgotten_before": requests[:place]},
            "reference": config.model if config.continual.reference == "first" and place else None,
        }
        left = unlearn(validate_config(RunConfig, single), tmp_path / str(task))
        assert same(weights(left), weights(out / "requests" / f"{task:02d}" / "model"))
        model = str(left)


def test_the_reference_makes_a_difference_from_the_second_request_on(queues):
    (_, previous, _), (_, first, _) = queues("previous"), queues("first")
    models = [[weights(out / "requests" / name / "model") for out in (previous, first)] for name in ("01", "02")]
    assert [same(*both) for both in models] == [True, False]
    notes = [json.loads((first / "requests" / name / "manifest.json").read_text())["notes"] for name in ("01", "02")]
    assert [len(each) for each in notes] == [0, 1]
    assert notes[1][0].startswith("compared with ")


def test_each_request_keeps_what_is_not_yet_forgotten(complete):
    _, out, _ = complete
    data = [read_yaml(out / "requests" / f"{number:02d}" / "config.yaml")["data"] for number in (1, 2, 3)]
    assert [(each["task"], each["forgotten_before"]) for each in data] == [(1, []), (2, [1]), (3, [1, 2])]


# What is scored


def test_every_forget_set_is_scored_again_after_each_request(complete):
    _, out, _ = complete
    whose = {"forget": [4, 3, 2], "forgotten-1": [None, 4, 4], "forgotten-2": [None, None, 3]}
    for number in (1, 2, 3):
        records = read_record_sets(out / "requests" / f"{number:02d}" / "records" / "after")
        expected = {name: authors[number - 1] for name, authors in whose.items() if authors[number - 1]}
        assert records.keys() == expected.keys() | {"retain"}
        for name, who in expected.items():
            assert len(records[name]) == 3
            assert all(record.id.startswith(author(who)) for record in records[name])
            assert {record.set for record in records[name]} == {name}
            assert {record.entailment_premise for record in records[name]} == {"output"}
        assert all(int(record.id[7:10]) <= 4 - number for record in records["retain"])


def test_the_matrix_is_made_of_the_records_on_disk(complete):
    _, out, results = complete
    metrics = ["rouge", "probability", "truth_ratio", "entailment"]
    assert results.metrics == metrics
    first = read_record_sets(out / "records" / "before")
    assert len(results.forget_efficacy) == 3
    for request, row in enumerate(results.forget_efficacy, 1):
        found = [first[f"forgotten-{request}"]]
        for time in range(1, 4):
            records = read_record_sets(out / "requests" / f"{time:02d}" / "records" / "after")
            found.append(records["forget"] if time == request else records.get(f"forgotten-{request}"))
        assert len(row) == 4
        for value, records in zip(row, found, strict=True):
            if records is None:
                assert value is None
                continue
            scores = score_records(
                {"forget": [each.model_copy(update={"set": "forget"}) for each in records]}, "closer-look"
            )
            assert value == pytest.approx(1 - fmean(getattr(scores.sets["forget"], metric) for metric in metrics))
    assert len({value for row in results.forget_efficacy for value in row}) > 6  # no two of them by accident


def test_results_json_is_as_promised(complete):
    _, out, results = complete
    found = json.loads((out / "results.json").read_text())
    assert found == results.to_json()
    assert ContinualResults.model_validate(found) == results
    assert found["requests"] == ["task 1", "task 2", "task 3"]
    for number, after in enumerate(results.after, 1):
        folder = out / "requests" / f"{number:02d}"
        assert after == Results.model_validate_json((folder / "results.json").read_text()).after
        assert after == score_records(read_record_sets(folder / "records" / "after"), "closer-look")


def test_each_request_is_compared_with_the_model_before_all_of_them(complete):
    """As a single run that is given the first model's records would be; they are made once, whatever asks for them."""
    _, out, results = complete
    first = read_record_sets(out / "records" / "before")
    assert first.keys() == {"retain", "forgotten-1", "forgotten-2", "forgotten-3"}
    for number in (1, 2, 3):
        before = read_record_sets(out / "requests" / f"{number:02d}" / "records" / "before")
        named = {f"forgotten-{number}" if name == "forget" else name: rows for name, rows in before.items()}
        for name, rows in named.items():
            known = {record.id: record.output for record in first[name]}
            assert {record.id: record.output for record in rows}.items() <= known.items()
            assert rows
    assert results.before == score_records(first, "closer-look")


# What is left


def test_the_folder_and_the_models(queue_settings, complete, tmp_path):
    """All models are kept where that is asked for; otherwise the last alone, with the same scores."""
    _, out, results = complete
    assert sorted(path.name for path in out.iterdir()) == [
        *("config.yaml", "manifest.json", "records", "requests", "results.json")
    ]
    assert [(out / "requests" / name / "model").is_dir() for name in ("01", "02", "03")] == [True] * 3
    changes = {"continual": {"keep_models": "last"}}
    assert run_queue(validate_config(RunConfig, merge_settings(queue_settings, changes)), tmp_path / "all") == results
    left = [(tmp_path / "all" / "requests" / name / "model").is_dir() for name in ("01", "02", "03")]
    assert left == [False, False, True]
    assert not list(tmp_path.rglob("checkpoints"))


def test_adapters_go_with_their_models(queues, queue_settings, tmp_path):
    changes = merge_settings(CASES["first with adapters"], {"continual": {"keep_models": "last"}})
    run_queue(validate_config(RunConfig, merge_settings(queue_settings, changes)), tmp_path / "all")
    folders = [tmp_path / "all" / "requests" / name for name in ("01", "02")]
    assert [(each / "adapter").is_dir() for each in folders] == [False, False]  # the second stands on the first
    _, out, _ = queues("first with adapters")
    kept = [out / "requests" / name for name in ("01", "02")]
    assert all((each / "adapter").is_dir() and (each / "model").is_dir() for each in kept)
    assert same(weights(folders[1] / "model"), weights(kept[1] / "model"))


def test_a_finished_queue_resumed_does_nothing_again(complete, monkeypatch):
    config, out, results = complete
    seconds = json.loads((out / "manifest.json").read_text())["seconds"]
    assert list(seconds) == ["evaluate before", "request 1", "request 2", "request 3"]
    monkeypatch.setattr(first_model, "evaluate", None)
    monkeypatch.setattr(run_queues, "run", None)
    told = Told()
    assert run_queue(config, out, resume=True, reporter=told) == results
    assert told.stages == [
        f"request {number} of 3 (task {number}): unlearned already in {out / 'requests' / f'{number:02d}'}"
        for number in (1, 2, 3)
    ]
    assert json.loads((out / "manifest.json").read_text())["seconds"] == seconds


@pytest.fixture
def no_collection():
    """A model must be gone when it is not needed, not when Python collects."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_the_first_model_is_evaluated_once_and_let_go(queue_settings, tmp_path, monkeypatch):
    """It is not in memory while the requests are unlearned; a warning that all of them give is told once."""
    asked, models = [], []
    monkeypatch.setattr(first_model, "evaluate", lambda *a, **k: (asked.append(1), evaluate(*a, **k))[1])

    def load(*arguments, **settings):
        model = load_model(*arguments, **settings)
        vars(model)["cycle"] = model  # as loaders leave them, depending on what they have to import
        models.append(weakref.ref(model.get_input_embeddings()))
        return model

    monkeypatch.setattr(open, "load_model", load)
    there = []

    def watched(*arguments, **settings):
        there.append(sum(each() is not None for each in models))
        return run(*arguments, **settings)

    monkeypatch.setattr(run_queues, "run", watched)
    told = Told()
    run_queue(
        validate_config(RunConfig, merge_settings(queue_settings, CASES["first"])), tmp_path / "all", reporter=told
    )
    assert (len(asked), there) == (3, [0, 0])  # once for each set
    assert len(told.warnings) == len(set(told.warnings)) > 0
