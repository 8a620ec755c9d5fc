"""The sequences of a run: those that training and evaluation will read, or assumed ones."""

from __future__ import annotations

import pytest

from efface.data import load_task
from efface.errors import EffaceError
from efface.models.folder import load_model_config
from efface.models.memory_estimate import meta_model
from efface.models.tokenizer import load_tokenizer
from efface.objectives.method import objective
from efface.preflight.workload import assumed_workload, describe_task, measured_workload, total_tokens
from efface.progress.reporter import SilentReporter
from efface.text.formatter import PromptFormatter


@pytest.fixture
def measured(source, config):
    """The workload of a run, for changed settings and a changed task."""
    model = meta_model(load_model_config(source), None)

    def make(change=lambda task: task, **changes):
        run = config(**changes)
        task = change(load_task(run.data, data_dir=None))
        formatter = PromptFormatter(load_tokenizer(source), run.text, limit=512, vocabulary=None)
        method = objective(run.method, run)
        return measured_workload(run, task, method, formatter, model=model, reporter=SilentReporter())

    return make


def test_lengths_are_those_of_the_data(measured, config, source):
    found = measured()
    assert len(found.steps) == found.plan.steps == 8
    assert (len(found.prompts), found.generic) == (6, [])
    task = load_task(config().data, data_dir=None)
    formatter = PromptFormatter(load_tokenizer(source), config().text)
    first = task.evaluation[0].items[0]
    assert found.prompts[0] == len(formatter.encode_prompts([first.prompt])[0])
    assert len(found.answers) > len(found.prompts)  # right, reworded and wrong answers
    assert describe_task(task) == "synthetic-authors-1-of-3: 20 forget items, 40 retain items"


def test_what_a_run_would_refuse_is_refused(measured):
    with pytest.raises(EffaceError, match="needs a retain set"):
        measured(lambda task: task.model_copy(update={"retain": ()}))
    with pytest.raises(EffaceError, match="512 positions"):
        measured(**{"evaluate.max_new_tokens": 500})


def test_an_assumed_workload(config):
    run = config(**{"train.batch_size": 3})
    found = assumed_workload(run, objective(run.method, run))
    [step] = found.steps
    assert total_tokens(step) == 3 * 2 * 128
    assert (found.prompts, found.answers) == ([64] * 1000, [128] * 1000)
