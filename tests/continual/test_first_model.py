"""The model before all requests: evaluated once, and compared with by every request."""

from __future__ import annotations

import gc
import weakref

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual import first_model
from efface.continual import queue as run_queues
from efface.continual.first_model import request_records
from efface.continual.queue import append_request, run_queue
from efface.data.config import FileConfig
from efface.evaluation.evaluate import evaluate
from efface.evaluation.generate import generate
from efface.evaluation.record_files import read_record_sets
from efface.models import load_parallel
from efface.models.load import load_model
from efface.run import model_answers
from efface.run.folder import RunFolder
from efface.run.model_answers import read_answers
from efface.run.pipeline import run
from efface.schema import EvaluationSet, Item, Task
from efface.scores import score_records
from support.answered import answered
from support.queues import CASES, facts, write
from support.runs import Told


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


@pytest.fixture
def no_collection():
    """A model must be gone when it is not needed, not when Python collects."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_the_first_model_is_evaluated_once_and_freed(queue_settings, tmp_path, monkeypatch):
    """It is not in memory while the requests are unlearned; a warning that all of them give is told once."""
    asked, models = [], []
    monkeypatch.setattr(first_model, "evaluate", lambda *a, **k: (asked.append(1), evaluate(*a, **k))[1])

    def load(*arguments, **settings):
        model = load_model(*arguments, **settings)
        vars(model)["cycle"] = model  # as loaders leave them, depending on what they have to import
        models.append(weakref.ref(model.get_input_embeddings()))
        return model

    monkeypatch.setattr(load_parallel, "load_model", load)
    there = []

    def watched(*arguments, **settings):
        there.append(sum(each() is not None for each in models))
        return run(*arguments, **settings)

    monkeypatch.setattr(run_queues, "run", watched)
    reporter = Told()
    run_queue(
        validate_config(RunConfig, merge_settings(queue_settings, CASES["first"])), tmp_path / "all", reporter=reporter
    )
    assert (len(asked), there) == (3, [0, 0])  # once for each set
    assert len(reporter.warnings) == len(set(reporter.warnings)) > 0


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


def test_all_requests_retain_the_first_models_answers(files, tmp_path, monkeypatch):
    """No other model generates any."""
    out, asked = tmp_path / "all", []
    monkeypatch.setattr(model_answers, "generate", lambda *a, **k: (asked.append(1), generate(*a, **k))[1])
    run_queue(files(data={"retain": "model-answers", "generic_questions": 8, "known_facts": 0}, method="npo+kl"), out)
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


def item(name):
    return Item(id=name, question=f"{name}?", answer="Yes.")


def test_a_request_gets_the_first_models_records_of_its_sets_within_the_limit():
    """Its forget set is the third of the queue: two requests come before it."""
    sets = {"retain": "abc", "forgotten-1": "de", "forgotten-2": "f", "forget": "gh"}
    evaluation = tuple(
        EvaluationSet(name=name, items=tuple(map(item, ids)), entailment_premise="output") for name, ids in sets.items()
    )
    task = Task(name="own", forget=(), retain=(), evaluation=evaluation, refusals=())
    first = answered(0, n=1, names=("retain", "forgotten-1", "forgotten-2", "forgotten-3"))
    first = {
        name: [rows[0].model_copy(update={"id": id_}) for id_ in sets.get(name, sets["forget"])]
        for name, rows in first.items()
    }
    records = request_records(task, first, 2)
    assert {name: "".join(record.id for record in rows) for name, rows in records.items()} == {
        "retain": "ab",
        "forgotten-1": "de",
        "forgotten-2": "f",
        "forget": "gh",
    }
    assert all(record.set == name for name, rows in records.items() for record in rows)
