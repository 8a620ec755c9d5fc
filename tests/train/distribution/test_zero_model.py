"""Two and four processes over gloo with DeepSpeed's ZeRO-3: the results of one process."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import pytest
from safetensors.torch import load_file

from efface.train.config import TrainConfig
from support import processes, several, zero

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="gloo on Windows is not supported"),
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed"),
]


@pytest.fixture(scope="module", params=[2, 4])
def together(request, tmp_path_factory):
    """The folder with the results of this number of processes, made once."""
    folder = tmp_path_factory.mktemp("zero")
    for ended in processes.run_group(folder, request.param, zero.work, folder):
        assert ended.code == 0, ended.output[-3000:]
    return folder


def assert_like(weights, trained, *, share):
    """The weights differ by at most this share of the largest update that training made."""
    before = dict(several.model(next(iter(weights.values())).dtype).named_parameters())
    assert trained.keys() == weights.keys()
    update = max(float((each - before[name].detach()).abs().max()) for name, each in weights.items())
    assert max(float((trained[name] - each).abs().max()) for name, each in weights.items()) < share * update


def assert_same_steps(rows, logs, *, half=False):
    close = {"rel": 2e-2, "abs": 1e-3} if half else {"rel": 1e-5, "abs": 1e-5}
    for row, log in zip(rows, logs, strict=True):
        for term in ("loss", "forget", "retain", "grad_norm"):
            assert row[term] == pytest.approx(getattr(log, term), **close), (term, log.step)


def results(folder, name):
    rows = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return rows, load_file(folder / f"{name}.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", zero.CASES)
def test_the_losses_and_weights_of_one_process_after_twenty_steps(together, tmp_path, name):
    weights, logs = zero.train(*zero.CASES[name], tmp_path)
    rows, trained = results(together, name)
    half = "bf16" in name
    assert_same_steps(rows, logs, half=half)
    assert_like(weights, trained, share=0.05 if half else 1e-3)


@pytest.mark.slow
def test_any_number_of_processes_resume_where_others_stopped(together, tmp_path):
    config = TrainConfig(lr=1e-3, save_steps=3)
    weights, logs = zero.train("ga+gd", config, tmp_path)
    rows, trained = results(together, zero.RESUMED)
    assert rows[0]["step"] == 13  # after the checkpoint of step 12
    assert_same_steps(rows, logs[12:])
    assert_like(weights, trained, share=1e-3)

    last = together / "runs" / "stopped"
    resumed, last_logs = zero.train("ga+gd", config, last, resume=True)
    assert [log.step for log in last_logs] == [19, 20]  # one process, after the checkpoint of step 18
    assert_like(weights, resumed, share=1e-3)
