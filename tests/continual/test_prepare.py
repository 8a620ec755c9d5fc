"""What a queue can be given later and what it refuses, always before anything is trained or written."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual import queue as run_queues
from efface.continual.queue import append_request, run_queue
from efface.data.config import FileConfig
from efface.errors import EffaceError
from efface.evaluation.generate import generate
from efface.evaluation.record_files import read_record_sets
from efface.preflight.dry_run import plan_queue
from efface.run import model_answers
from efface.run.folder import RunFolder
from efface.run.model_answers import read_answers
from support.runs import Told

pytestmark = pytest.mark.usefixtures("quick_collection")


def facts(*numbers):
    return [{"question": f"Where was author {n} born?", "answer": f"Author {n} was born in Turku."} for n in numbers]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def everything(folder):
    """Every file and its content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(folder):
    [file] = (folder / "model").glob("*.safetensors")
    return load_file(file)


@pytest.fixture
def config(queue_settings):
    """The settings of a queue, with some changed."""

    def make(**changes):
        return validate_config(RunConfig, merge_settings(queue_settings, {"method": "npo+gd", **changes}))

    return make


@pytest.fixture
def files(queue_settings, tmp_path):
    """The settings of a queue of two files, each with four questions, beside one of twelve to keep some of."""
    keep = write(tmp_path / "keep.jsonl", facts(*range(12)))
    gone = [write(tmp_path / f"gone{n}.jsonl", facts(*range(4 * n, 4 * n + 4))) for n in (0, 1)]

    def make(*requests, **changes):
        settings = {
            **queue_settings,
            "method": "me+gd",
            "data": {"retain": keep},
            "train": {"epochs": 1, "batch_size": 4},
            "continual": {"requests": [*gone, *requests]},
        }
        return validate_config(RunConfig, merge_settings(settings, changes))

    return make


@pytest.fixture
def refused(tmp_path):
    """Run a queue that must be refused, in `tmp_path`/all, where nothing may change; what was said."""

    def refuse(config, **arguments):
        before = everything(tmp_path)
        with pytest.raises(EffaceError) as raised:
            run_queue(config, tmp_path / "all", **arguments)
        assert everything(tmp_path) == before
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return refuse


# Another request


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
    with pytest.raises(EffaceError, match="task 4 is there and task 3 is not; leave no task out"):
        append_request(out, 4)


def test_a_further_file_has_the_columns_of_the_last_one(files, made, tmp_path):
    out = tmp_path / "all"
    columns = {"question": "asked", "answer": "said"}
    RunFolder(out).start(files({"path": "other.csv", "columns": columns}), made)
    assert append_request(out, FileConfig(path="new.csv")).continual.requests[-1] == FileConfig(
        path="new.csv", columns=columns
    )


def test_a_folder_without_a_queue(config, tmp_path):
    message = "contains no queue of requests; start one with efface run and continual.requests"
    with pytest.raises(EffaceError, match=message):
        append_request(tmp_path, 1)
    (tmp_path / "config.yaml").write_text("model: a\nwithout: null\n")
    with pytest.raises(EffaceError, match=message):
        append_request(tmp_path, 1)


# Files, and what is kept


def test_the_rest_of_the_file_is_kept_and_scored_within_the_limit(files, tmp_path):
    """The second request takes what was scored first; what moves up was asked before the requests, too."""
    out = tmp_path / "all"
    results = run_queue(files(), out)
    before, kept = (
        [
            [record.id for record in read_record_sets(out / "requests" / number / "records" / stage)["retain"]]
            for number in ("01", "02")
        ]
        for stage in ("before", "after")
    )
    assert kept == [["retain/0005", "retain/0006", "retain/0007"], ["retain/0009", "retain/0010", "retain/0011"]]
    assert before == kept
    assert [record.id for record in read_record_sets(out / "records" / "before")["retain"]] == [*kept[0], *kept[1]]
    assert results.requests == [str(tmp_path / f"gone{n}.jsonl") for n in (0, 1)]
    longer = run_queue(append_request(out, FileConfig(path=write(tmp_path / "more.jsonl", facts(8)))), out, resume=True)
    assert [each.sets["retain"].n for each in longer.after] == [3, 3, 3]


def test_the_first_models_own_answers_are_kept_by_all(files, tmp_path, monkeypatch):
    """No other model is asked for any."""
    out, asked = tmp_path / "all", []
    monkeypatch.setattr(model_answers, "generate", lambda *a, **k: (asked.append(1), generate(*a, **k))[1])
    run_queue(files(data={"retain": "model-answers", "generic_questions": 8}, method="npo+kl"), out)
    folders = [RunFolder(out), *(RunFolder(out / "requests" / n) for n in ("01", "02"))]
    assert asked == [1]
    first, *others = (read_answers(folder) for folder in folders)
    assert first
    assert others == [first, first]
    answers = [
        {record.answer for record in read_record_sets(folder.root / "records" / "before")["retain"]}
        for folder in folders
    ]
    assert answers[0] <= set(first.values())
    assert answers == [answers[0]] * 3


# Refused


def test_a_request_that_leaves_nothing_to_keep(config, files, refused, tmp_path):
    said = refused(config(continual={"requests": [1, 2, 3, 4]}))
    assert said.startswith(
        "request 4 (task 4): synthetic-authors-1-of-4-task4: after 4 request(s), nothing is left to keep"
    )
    said = refused(files(write(tmp_path / "rest.jsonl", facts(*range(8, 12)))))
    assert "request 3 (" in said
    assert "keep.jsonl: after 3 request(s), nothing is left to keep; forget less or keep more" in said


def test_a_request_that_was_made_before(files, refused, tmp_path):
    again = shutil.copy(tmp_path / "gone0.jsonl", tmp_path / "again.jsonl")
    said = refused(files(again))
    assert said == f"request 3 ({again}): {again} holds nothing that was not forgotten before; remove this request"


def test_a_file_that_is_not_there(files, refused, tmp_path):
    missing = str(tmp_path / "missing.jsonl")
    said = refused(files(missing))
    assert said.startswith(f"request 3 ({missing}): ")


def test_other_settings_and_fewer_requests_are_no_resumption(config, refused, tmp_path):
    two = {"requests": [1, 2]}
    run_queue(config(continual=two), tmp_path / "all")
    assert "already contains a run; continue it with --resume" in refused(config(continual=two))
    for changes in (
        {"seed": 1, "continual": two},
        {"continual": {"requests": [1]}},
        {"continual": {"requests": [2, 1]}},
        {"continual": {"requests": [1, 2, 3], "reference": "first"}},
        {"continual": {"requests": [1, 2, 3]}, "train": {"lr": 1e-2}},
    ):
        assert "has other settings than these" in refused(config(**changes), resume=True)


def test_data_that_changed_since(files, refused, tmp_path):
    out = tmp_path / "all"
    run_queue(files(), out)
    write(tmp_path / "gone0.jsonl", facts(0, 1, 2))
    said = refused(files(write(tmp_path / "more.jsonl", facts(8))), resume=True)
    assert said.startswith("--resume: ")
    assert said.endswith("gone0.jsonl has changed since the run started; start over in another --out")


def test_the_model_to_go_on_from_is_gone(config, refused, tmp_path):
    out = tmp_path / "all"
    run_queue(config(continual={"requests": [1, 2]}), out)
    shutil.rmtree(out / "requests" / "02" / "model")
    said = refused(append_request(out, 3), resume=True)
    assert "requests/02/model is missing, and request 3 of 3 (task 3) starts from it" in said


def test_a_request_that_was_begun_where_the_folder_no_longer_is(config, refused, tmp_path, monkeypatch):
    two = config(continual={"requests": [1, 2]})
    run_queue(two, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "requests" / "02" / "results.json").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "all")
    said = refused(two, resume=True)
    assert said.startswith("request 2 of 2 (task 2) was started with the queue in another folder")


def test_a_configuration_without_requests_is_no_queue(config, refused):
    assert refused(config(continual=None)).startswith("there are no requests; set continual.requests")


def test_a_dry_run_counts_the_models_that_lie_there_at_once(config, tmp_path):
    """Two while the next one is made, or all; it writes nothing."""
    last, every = (
        plan_queue(
            config(continual={"keep_models": keep}), tmp_path / "all", data_dir=None, resume=False, reporter=Told()
        )
        for keep in ("last", "all")
    )
    assert every.bytes_written - last.bytes_written == 4 * last.parameters
    assert last.scored == {"forget": 3, "forgotten-1": 3, "forgotten-2": 3, "retain": 1}
    assert last.notes[0].startswith("3 requests, 0 of them done, 12 steps in all")
    assert not (tmp_path / "all").exists()
