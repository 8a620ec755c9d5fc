"""Downstream tasks within a run: scored before and after, once each, and refused before anything is trained."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.folder import QueueFolder
from efface.continual.queue import run_queue
from efface.downstream.harness import score_downstream
from efface.errors import EffaceError
from efface.models import open
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


@pytest.fixture
def config(settings, local_tasks):
    """A run that moves its model far, with two tasks."""
    tasks = {"tasks": ["local_arc", "local_mmlu_geography"], "include": str(local_tasks), "limit": 12}
    own = {"method": "ga", "device": "cpu", "seed": 3, "train": {"lr": 0.03}, "downstream": tasks}
    return lambda **changes: validate_config(RunConfig, merge_settings(merge_settings(settings, own), changes))


@pytest.fixture
def queue(config, tmp_path):
    """Two requests, a file each."""

    def rows(name, count):
        lines = ({"question": f"Where is {name} {n}?", "answer": f"{name} {n} is in Turku."} for n in range(count))
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(tmp_path / f"{name}.jsonl")

    values = dumped(config())
    requests = {"requests": [rows("first", 4), rows("second", 4)], "keep_models": "all"}
    values |= {"data": {"retain": rows("kept", 6)}, "continual": requests}
    return validate_config(RunConfig, merge_settings(values, {"train": {"batch_size": 2}}))


@pytest.fixture
def scored(monkeypatch):
    """How often a model was scored."""
    calls = []

    def counting(*arguments, **settings):
        calls.append(1)
        return score_downstream(*arguments, **settings)

    monkeypatch.setattr(downstream_stages, "score_downstream", counting)
    return calls


def score_of(folder, config):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return score_downstream(model, AutoTokenizer.from_pretrained(folder), config.downstream, seed=config.seed)


def dumped(config):
    return config.model_dump(mode="json")


def in_json(folder):
    return json.loads((folder / "results.json").read_text())


def test_both_models_are_scored(config, source, tmp_path):
    told, out = Told(), tmp_path / "out"
    results = run(config(), out, reporter=told)
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


def test_what_was_scored_is_not_scored_again(config, scored, tmp_path):
    whole, out = run(config(), tmp_path / "whole"), tmp_path / "out"
    scored.clear()
    with pytest.raises(KeyboardInterrupt):
        run(config(), out, reporter=Dying())
    assert len(scored) == 1
    told = Told()
    assert run(config(), out, resume=True, reporter=told) == whole
    assert len(scored) == 2
    assert f"scored downstream tasks before unlearning already: {out}" in told.stages
    assert run(config(), out, resume=True) == whole
    assert len(scored) == 2
    assert in_json(out) == in_json(tmp_path / "whole")


def test_scores_of_another_run_will_do(config, scored, tmp_path):
    given = run(config(), tmp_path / "first").downstream.before
    scored.clear()
    assert run(config(), tmp_path / "second", downstream=given).downstream.before == given
    assert len(scored) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tasks": ["local_ark"]}, "there is no task 'local_ark'; did you mean local_arc"),
        ({"include": "nowhere"}, "downstream.include=nowhere: there is no such folder"),
        ({"metrics": {"local_arc": "f1"}}, "task local_arc has no metric 'f1'"),
    ],
)
def test_what_is_wrong_is_refused_before_the_model_is_loaded(config, queue, tmp_path, monkeypatch, changes, sentence):
    monkeypatch.setattr(open, "load_model", lambda *_, **__: pytest.fail("loaded"))
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
    with pytest.raises(EffaceError, match=r"pip install 'efface\[downstream\]'"):
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


def test_damaged_scores(config, tmp_path):
    out = tmp_path / "out"
    whole = run(config(), out)
    (out / "downstream-before.json").write_text("{")
    with pytest.raises(EffaceError, match=r"downstream-before\.json is damaged; remove it to score the tasks again"):
        run(config(), out, resume=True)
    (out / "downstream-before.json").unlink()
    assert run(config(), out, resume=True) == whole


def test_a_queue_is_scored_before_all_requests_and_after_each(queue, source, scored, tmp_path):
    out = tmp_path / "out"
    results = run_queue(queue, out)
    models = [source, *(QueueFolder(out).request(number).model for number in (1, 2))]
    assert results.downstream == [score_of(model, queue) for model in models]
    assert len(scored) == 3
    assert len({each.average for each in results.downstream}) > 1
    assert [each["average"] for each in in_json(out)["downstream"]] == [each.average for each in results.downstream]
    for number in (1, 2):
        found = QueueFolder(out).request(number).read_results().downstream
        assert (found.before, found.after) == (results.downstream[0], results.downstream[number])
    assert run_queue(queue, out, resume=True) == results
    assert len(scored) == 3


def test_a_queue_goes_on_with_the_first_models_scores(queue, scored, tmp_path):
    whole = run_queue(queue, tmp_path / "whole")
    scored.clear()
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
