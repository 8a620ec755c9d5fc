"""Downstream tasks within a run: scored before and after, once each, and refused before anything is trained."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.folder import QueueFolder
from efface.continual.queue import run_queue
from efface.downstream.harness import score_downstream
from efface.errors import EffaceError
from efface.models import load_parallel
from efface.preflight.dry_run import plan_queue, plan_run
from efface.run import downstream_stages
from efface.run.pipeline import run, unlearn
from support.downstream import cache_in, write_tasks
from support.runs import Told


class Dying(Told):
    """Dies after the third step, as the process would."""

    def on_step(self, log):
        if log.step == 3:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def local_tasks(tmp_path_factory):
    with cache_in(tmp_path_factory.mktemp("data-sets")):
        yield write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def config(settings, local_tasks):
    """A run that moves its model far, with two tasks."""
    tasks = {"tasks": ["local_arc", "local_mmlu_geography"], "include": str(local_tasks), "limit": 12}
    own = {"method": "ga", "device": "cpu", "seed": 3, "train": {"lr": 0.03}, "downstream": tasks}
    return lambda **changes: validate_config(RunConfig, merge_settings(merge_settings(settings, own), changes))


@pytest.fixture(scope="module")
def queue(config, tmp_path_factory):
    """Two requests, a file each."""
    folder = tmp_path_factory.mktemp("requests")

    def rows(name, count):
        lines = ({"question": f"Where is {name} {n}?", "answer": f"{name} {n} is in Turku."} for n in range(count))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(folder / f"{name}.jsonl")

    values = dumped(config())
    requests = {"requests": [rows("first", 4), rows("second", 4)], "keep_models": "all"}
    values |= {"data": {"retain": rows("kept", 6)}, "continual": requests}
    return validate_config(RunConfig, merge_settings(values, {"train": {"batch_size": 2}}))


@contextmanager
def counting():
    """Collects one entry each time that a model is scored."""
    calls = []

    def counted(*arguments, **settings):
        calls.append(1)
        return score_downstream(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downstream_stages, "score_downstream", counted)
        yield calls


@pytest.fixture
def scored():
    """How often a model was scored."""
    with counting() as calls:
        yield calls


@pytest.fixture(scope="module")
def complete(config, tmp_path_factory):
    """One complete run: its folder, results and reporter; not to be changed."""
    out, told = tmp_path_factory.mktemp("complete") / "out", Told()
    return out, run(config(), out, reporter=told), told


@pytest.fixture(scope="module")
def complete_queue(queue, tmp_path_factory):
    """One complete queue: its folder and results, and how often a model was scored; not to be changed."""
    out = tmp_path_factory.mktemp("complete") / "queue"
    with counting() as calls:
        return out, run_queue(queue, out), len(calls)


def score_of(folder, config):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return score_downstream(model, AutoTokenizer.from_pretrained(folder), config.downstream, seed=config.seed)


def dumped(config):
    return config.model_dump(mode="json")


def in_json(folder):
    return json.loads((folder / "results.json").read_text())


def test_both_models_are_scored(complete, config, source):
    out, results, told = complete
    assert results.downstream.before == score_of(source, config())
    assert results.downstream.after == score_of(out / "model", config())
    assert results.downstream.before.average != results.downstream.after.average
    for stage in ("before", "after"):
        written = in_json(out)["downstream"][stage]
        assert written["average"] == getattr(results.downstream, stage).average
        assert written == json.loads((out / f"downstream-{stage}.json").read_text())
    assert [stage for stage in told.stages if "downstream" in stage] == [
        "scoring downstream tasks before unlearning",
        "scoring downstream tasks after unlearning",
    ]
    made = json.loads((out / "manifest.json").read_text())
    assert made["seconds"].keys() > {"downstream before", "downstream after"}
    assert "local_arc.yaml" in made["tasks"]
    assert made["versions"]["lm-eval"] == results.downstream.before.lm_eval
    average = f"{results.downstream.before.average:.4f} | {results.downstream.after.average:.4f}"
    assert f"| downstream tasks, average | {average} |\n" in (out / "model" / "README.md").read_text()


def test_nothing_is_scored_where_it_was_not_asked_for(config, scored, tmp_path):
    assert run(config(downstream=None), tmp_path / "run").downstream is None
    assert "downstream" not in in_json(tmp_path / "run")
    unlearn(config(), tmp_path / "unlearned")
    assert scored == []


def test_what_was_scored_is_not_scored_again(complete, config, scored, tmp_path):
    whole_folder, whole, _ = complete
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(config(), out, reporter=Dying())
    assert len(scored) == 1
    told = Told()
    assert run(config(), out, resume=True, reporter=told) == whole
    assert len(scored) == 2
    assert f"scored downstream tasks before unlearning already: {out}" in told.stages
    assert run(config(), out, resume=True) == whole
    assert len(scored) == 2
    assert in_json(out) == in_json(whole_folder)


def test_scores_of_another_run_will_do(complete, config, scored, tmp_path):
    given = complete[1].downstream.before
    assert run(config(), tmp_path / "second", downstream=given).downstream.before == given
    assert len(scored) == 1


@pytest.mark.usefixtures("few_library_tasks")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tasks": ["local_ark"]}, "there is no task 'local_ark'; did you mean local_arc"),
        ({"include": "nowhere"}, "downstream.include=nowhere: there is no such folder"),
        ({"metrics": {"local_arc": "f1"}}, "task local_arc has no metric 'f1'"),
    ],
)
def test_what_is_wrong_is_refused_before_the_model_is_loaded(config, queue, tmp_path, monkeypatch, changes, sentence):
    monkeypatch.setattr(load_parallel, "load_model", lambda *_, **__: pytest.fail("loaded"))
    one, several = (
        config(downstream=changes),
        validate_config(RunConfig, merge_settings(dumped(queue), {"downstream": changes})),
    )
    out = tmp_path / "out"
    outlined = {"data_dir": None, "resume": False, "reporter": Told()}
    for refuse in (
        lambda: run(one, out),
        lambda: plan_run(one, out, **outlined, evaluated=True),
        lambda: run_queue(several, out),
        lambda: plan_queue(several, out, **outlined),
    ):
        with pytest.raises(EffaceError) as raised:
            refuse()
        assert str(raised.value).startswith(sentence)
    assert not out.exists()


def test_without_the_library(config, tmp_path, monkeypatch):
    monkeypatch.setattr("efface.downstream.tasks.find_spec", lambda name: None)
    with pytest.raises(EffaceError, match=r"\[downstream\]"):
        run(config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_chat_template_that_is_not_there(config, queue, scored, tmp_path):
    changes = {"chat_template": True}
    several = validate_config(RunConfig, merge_settings(dumped(queue), {"downstream": changes}))
    for refuse in (
        lambda: run(config(downstream=changes), tmp_path / "out"),
        lambda: run_queue(several, tmp_path / "out"),
    ):
        with pytest.raises(EffaceError, match="the model's tokenizer has no chat template"):
            refuse()
    assert not (tmp_path / "out").exists()


def test_data_that_are_gone(config, queue, local_tasks, tmp_path):
    text = (local_tasks / "local_arc.yaml").read_text().replace("local_arc.test", "gone")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text(text)
    changes = {"tasks": ["local_arc"], "include": str(tmp_path / "own")}
    several = validate_config(RunConfig, merge_settings(dumped(queue), {"downstream": changes}))
    for refuse in (
        lambda: run(config(downstream=changes), tmp_path / "out"),
        lambda: run_queue(several, tmp_path / "out"),
    ):
        with pytest.raises(EffaceError, match="task local_arc does not load"):
            refuse()
        assert not (tmp_path / "out").exists()


def test_questions_that_do_not_fit_are_refused_first(config, scored, tmp_path):
    with pytest.raises(EffaceError, match="5000"):
        run(config(evaluate={"max_new_tokens": 5000}), tmp_path / "out")
    assert (scored, (tmp_path / "out").exists()) == ([], False)


def test_a_task_that_changed_is_not_compared_with_what_it_was(config, local_tasks, tmp_path):
    own = write_tasks(tmp_path / "own")
    changed = config(downstream={"include": str(own)})
    with pytest.raises(KeyboardInterrupt):
        run(changed, tmp_path / "out", reporter=Dying())
    (own / "local_arc.yaml").write_text((own / "local_arc.yaml").read_text() + "num_fewshot: 0\n")
    with pytest.raises(EffaceError, match=r"--resume: a file in downstream.include has changed since the run started"):
        run(changed, tmp_path / "out", resume=True)


def test_damaged_scores(complete, config, tmp_path):
    whole_folder, whole, _ = complete
    out = shutil.copytree(whole_folder, tmp_path / "out")
    (out / "downstream-before.json").write_text("{")
    with pytest.raises(EffaceError, match=r"downstream-before\.json is not what the run wrote: .*restore"):
        run(config(), out, resume=True)
    (out / "downstream-before.json").unlink()
    assert run(config(), out, resume=True) == whole


def test_a_queue_is_scored_before_all_requests_and_after_each(complete_queue, queue, source, scored):
    out, results, times = complete_queue
    assert times == 3
    models = [source, *(QueueFolder(out).request(number).model for number in (1, 2))]
    assert results.downstream == [score_of(model, queue) for model in models]
    assert len({each.average for each in results.downstream}) > 1
    assert [each["average"] for each in in_json(out)["downstream"]] == [each.average for each in results.downstream]
    for number in (1, 2):
        found = QueueFolder(out).request(number).read_results().downstream
        assert (found.before, found.after) == (results.downstream[0], results.downstream[number])
    assert run_queue(queue, out, resume=True) == results
    assert scored == []


@pytest.mark.slow
def test_a_queue_goes_on_with_the_first_models_scores(complete_queue, queue, scored, tmp_path):
    _, whole, _ = complete_queue
    with pytest.raises(KeyboardInterrupt):
        run_queue(queue, tmp_path / "out", reporter=Dying())
    assert len(scored) == 1
    assert run_queue(queue, tmp_path / "out", resume=True) == whole
    assert len(scored) == 3


def test_a_queue_without(queue, scored, tmp_path):
    plain = queue.model_copy(update={"downstream": None})
    assert run_queue(plain, tmp_path / "out").downstream == []
    assert "downstream" not in in_json(tmp_path / "out")
    assert scored == []
