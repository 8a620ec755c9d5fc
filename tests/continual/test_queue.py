"""Requests one after another: each is a run from the model that the previous one left; further requests can follow."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from statistics import fmean

import pytest
import torch
from peft import PeftModel

from efface.artifacts import ContinualResults, Manifest, Results
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, read_yaml, validate_config
from efface.config.size_defaults import SizeDefault
from efface.continual import first_model
from efface.continual import queue as run_queues
from efface.continual.queue import append_request, run_queue
from efface.data.config import FileConfig
from efface.errors import EffaceError
from efface.evaluation.record_files import read_record_sets
from efface.models.folder import model_sha256
from efface.models.load import load_model
from efface.run.folder import RunFolder
from efface.run.pipeline import unlearn
from efface.scores import score_records
from support.queues import CASES, same, weights
from support.runs import Told

LOADED = {"dtype": torch.float32, "device": torch.device("cpu")}


def author(number):
    """The questions about the author of that number, counted from 1."""
    return f"author/{number:03d}/"


@pytest.mark.parametrize(
    "case", [case if case == "kept adapter" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
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
        if config.continual.lora == "keep" and place:
            single["train"]["lora"]["adapter"] = "keep"
        left = unlearn(validate_config(RunConfig, single), tmp_path / str(task))
        assert same(weights(left.parent), weights(out / "requests" / f"{task:02d}"))
        model = str(left)


@pytest.mark.slow
def test_the_reference_makes_a_difference_from_the_second_request_on(queues):
    (_, previous, _), (_, first, _) = queues("previous"), queues("first")
    models = [[weights(out / "requests" / name) for out in (previous, first)] for name in ("01", "02")]
    assert [same(*both) for both in models] == [True, False]
    notes = [json.loads((first / "requests" / name / "manifest.json").read_text())["notes"] for name in ("01", "02")]
    assert [len(each) for each in notes] == [0, 1]
    assert notes[1][0].startswith("compared with ")


def test_each_request_keeps_what_is_not_yet_forgotten(complete):
    _, out, _ = complete
    data = [read_yaml(out / "requests" / f"{number:02d}" / "config.yaml")["data"] for number in (1, 2, 3)]
    assert [(each["task"], each["forgotten_before"]) for each in data] == [(1, []), (2, [1]), (3, [1, 2])]


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


@pytest.mark.slow
def test_adapters_go_with_their_models(queues, queue_settings, tmp_path):
    changes = merge_settings(CASES["first with adapters"], {"continual": {"keep_models": "last"}})
    run_queue(validate_config(RunConfig, merge_settings(queue_settings, changes)), tmp_path / "all")
    folders = [tmp_path / "all" / "requests" / name for name in ("01", "02")]
    assert [(each / "adapter").is_dir() for each in folders] == [False, False]  # the second stands on the first
    _, out, _ = queues("first with adapters")
    kept = [out / "requests" / name for name in ("01", "02")]
    assert all((each / "adapter").is_dir() and (each / "model").is_dir() for each in kept)
    assert same(weights(folders[1]), weights(kept[1]))


@pytest.mark.slow
def test_a_kept_adapter_stays_on_the_first_model(queues, queue_settings, tmp_path):
    """Adapter N alone, on the model before all requests, is the model after request N."""
    config, out, _ = queues("kept adapter")
    first, second = (out / "requests" / name for name in ("01", "02"))
    for request in (first, second):
        assert json.loads((request / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == (
            config.model
        )
        merged = PeftModel.from_pretrained(load_model(Path(config.model), **LOADED), request / "adapter")
        expected = merged.merge_and_unload().state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in weights(request).items())
    origins = [Manifest.model_validate_json((each / "manifest.json").read_text()).adapter for each in (first, second)]
    weights_file = first / "adapter" / "adapter_model.safetensors"
    assert [each.base for each in origins] == [config.model] * 2
    assert {each.base_sha256 for each in origins} == {model_sha256(Path(config.model))}
    assert [each.continues for each in origins] == [None, hashlib.sha256(weights_file.read_bytes()).hexdigest()]
    card = (second / "adapter" / "README.md").read_text()
    assert f"load it onto `{Path(config.model).name}` (sha256 `{origins[1].base_sha256}`)" in card

    changes = merge_settings(CASES["kept adapter"], {"continual": {"keep_models": "last"}})
    run_queue(validate_config(RunConfig, merge_settings(queue_settings, changes)), tmp_path / "all")
    folders = [tmp_path / "all" / "requests" / name for name in ("01", "02")]
    assert [(each / "adapter").is_dir() for each in folders] == [False, True]
    assert [(each / "model").is_dir() for each in folders] == [False, True]
    assert same(weights(folders[1]), weights(second))


def test_a_finished_queue_resumed_does_nothing_again(complete, monkeypatch):
    config, out, results = complete
    seconds = json.loads((out / "manifest.json").read_text())["seconds"]
    assert list(seconds) == ["evaluate before", "request 1", "request 2", "request 3"]
    monkeypatch.setattr(first_model, "evaluate", None)
    monkeypatch.setattr(run_queues, "run", None)
    reporter = Told()
    assert run_queue(config, out, resume=True, reporter=reporter) == results
    assert reporter.stages == [
        f"request {number} of 3 (task {number}): unlearned already in {out / 'requests' / f'{number:02d}'}"
        for number in (1, 2, 3)
    ]
    assert json.loads((out / "manifest.json").read_text())["seconds"] == seconds


@pytest.mark.slow
def test_a_queue_that_got_another_request_is_as_if_it_had_been_there(config, tmp_path):
    """Also where the model before it is all that was kept, and the scores come out the same to the last digit."""
    settings = {"keep_models": "last", "reference": "first"}
    whole = run_queue(config(continual={**settings, "requests": [1, 2, 3]}), tmp_path / "whole")
    added = tmp_path / "added"
    run_queue(config(continual={**settings, "requests": [1, 2]}), added)
    longer = append_request(added, 3)
    assert longer == config(continual={**settings, "requests": [1, 2, 3]})
    assert run_queue(longer, added, resume=True) == whole
    one, other = (weights(folder / "requests" / "03") for folder in (tmp_path / "whole", added))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_record_sets(added / "records" / "before") == read_record_sets(tmp_path / "whole" / "records" / "before")
    assert (added / "config.yaml").read_bytes() == (tmp_path / "whole" / "config.yaml").read_bytes()
    made = json.loads((added / "manifest.json").read_text())
    assert list(made["seconds"]) == ["evaluate before", "request 1", "request 2", "request 3"]
    assert [note.split()[0] for note in made["notes"]] == ["resumed"]


def test_a_request_that_is_not_done_can_be_asked_for_again(config, tmp_path, monkeypatch):
    out = tmp_path / "all"
    run_queue(config(continual={"requests": [1]}), out)
    with pytest.raises(EffaceError, match="contains task 1 already, as request 1; give one that is not in the queue"):
        append_request(out, 1)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_queues, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        run_queue(append_request(out, 2), out, resume=True)
    assert append_request(out, 2).continual.requests == (1, 2)
    with pytest.raises(EffaceError, match="contains task 1 already"):
        append_request(out, 1)
    with pytest.raises(EffaceError, match="task 4 is listed but task 3 is not; leave no task out"):
        append_request(out, 4)


def test_a_further_file_has_the_columns_of_the_last_one(files, made, tmp_path):
    out = tmp_path / "all"
    columns = {"question": "asked", "answer": "said"}
    RunFolder(out).start(files({"path": "other.csv", "columns": columns}), made)
    assert append_request(out, FileConfig(path="new.csv")).continual.requests[-1] == FileConfig(
        path="new.csv", columns=columns
    )


def test_a_queue_whose_settings_follow_from_the_size_of_its_model_is_resumed(files, tmp_path, monkeypatch):
    class Dies(Told):
        def on_step(self, log):
            raise KeyboardInterrupt

    row = SizeDefault(1.0, 1e-3, 0.2, 1, 4, "a search")
    monkeypatch.setattr("efface.run.preparation.size_settings.default_for", lambda *_: row)
    config, out = files(train={"epochs": 1, "batch_size": 4}), tmp_path / "all"
    assert "lr" not in config.train.model_fields_set
    with pytest.raises(KeyboardInterrupt):
        run_queue(config, out, reporter=Dies())
    results = run_queue(config, out, resume=True)
    assert len(results.requests) == 2
    assert read_yaml(out / "config.yaml")["train"]["lr"] == 1e-3
