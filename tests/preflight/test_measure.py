"""Measured steps and questions, and what the whole run is extrapolated to take."""

from __future__ import annotations

import pytest
import torch

from efface.objectives.method import objective
from efface.preflight import measure as module
from efface.preflight.diagnosis import MeasuredCosts, MeasuredQuestions, MeasuredSteps
from efface.preflight.measure import extrapolate
from efface.preflight.workload import Workload, total_tokens
from efface.text.sequence import TokenizedSequence
from efface.train.batches.schedule import Schedule

QUESTIONS = MeasuredQuestions(
    tokens_per_second=100.0, decoding=0.1, decoding_row=0.01, padded=True, max_cache_tokens=1000
)
STEPS = MeasuredSteps(loading=7.0, first=9.0, count=2, tokens_per_second=50.0, memory=1)
MEASURED = MeasuredCosts(questions=QUESTIONS, steps=STEPS)


def test_the_largest_batches_are_measured():
    steps = [[{"retain": [0] * size}] for size in (3, 9, 5)]
    chosen = module._largest_batches(steps, 4)
    assert [len(step[0]["retain"]) for step in chosen] == [9, 5, 3, 9]


@pytest.fixture
def times(config):
    """Times of a run of two steps of one item, for changed settings."""

    def make(**changes):
        run = config(**changes)
        method = objective(run.method, run)
        example = {view: TokenizedSequence(view, [1] * 4, [2] * 6) for view in method.views}
        workload = Workload([[example]] * 2, prompts=[10], answers=[30, 20], generic=[10], plan=Schedule(6, 0, 2))
        return extrapolate(MEASURED, workload, run, method), total_tokens([example])

    return make


def test_unlearning_and_evaluation_by_hand(times):
    found, tokens = times()
    assert found.unlearning == pytest.approx(7 + 2 * tokens / 50)
    generation = 10 / 100 + 3 * (0.1 + 0.01)
    assert found.evaluation == pytest.approx(7 + 50 / 100 + generation)
    assert found.answers == pytest.approx(generation)
    assert found.evaluations == 2
    assert found.total == pytest.approx(found.answers + found.unlearning + 2 * found.evaluation)


def test_a_reference_is_read_once_and_a_live_one_loaded_again(times):
    tokens = 20  # of a forget and a retain item
    without = 7 + 2 * tokens / 50
    assert times(method="npo+gd")[0].unlearning == pytest.approx(without + 10 / 100)
    assert times(method="npo+gd", reference="other")[0].unlearning == pytest.approx(without + 10 / 100 + 7)
    assert times(method="ga+kl")[0].unlearning == pytest.approx(without + 10 / 100)
    assert times(method="ga+kl", **{"train.kl_reference": "live"})[0].unlearning == pytest.approx(without + 7)


def test_each_epoch_is_evaluated_where_that_is_set(times):
    assert times(**{"evaluate.every": "epoch", "train.epochs": 3})[0].evaluations == 2 + 2


def test_peak_memory_of_this_process():
    size = 2**25
    with module._PeakMemory(torch.device("cpu")) as peak:
        block = torch.ones(size // 4)
        for _ in range(6000):
            if peak.bytes > 0.8 * size:
                break
            module.time.sleep(0.01)
        del block
    assert peak.bytes > 0.8 * size
    with module._PeakMemory(torch.device("cpu")) as peak:
        block = torch.ones(size // 4)
    assert peak.bytes > 0.8 * block.nbytes
