"""`kill -9` at any moment and `--resume`: the same files as without a kill, byte by byte."""

from __future__ import annotations

import json
import signal
import time

import pytest
import yaml

from efface.config.commands import FinetuneConfig
from efface.config.parse import merge_settings
from efface.run.folder import RunFolder
from support import killing, processes

ADAPTERS = {"lora": {"r": 2, "dropout": 0.3}}
CASES = {
    "full": ("run", {"method": "npo+kl"}),
    "lora": ("run", {"method": "dpo+gd", "train": ADAPTERS}),
    # leaves the first epoch's model, for this model gives no answer afterwards
    "best epoch": (
        "run",
        {
            "train": {**ADAPTERS, "epochs": 3, "lr": 3e-2},
            "evaluate": {"every": "epoch", "select_epoch": "best", "limit": 2, "max_new_tokens": 3},
        },
    ),
    "finetune": (
        "finetune",
        {"data": {"authors": 2}, "train": {"epochs": 4, "batch_size": 12, "lr": 3e-3}},
    ),
}
MOMENTS = {
    "full": [
        "os.rename /records/before/.retain.jsonl.partial",
        "os.rename /checkpoints/.reference.safetensors.partial",
        "os.rmdir /checkpoints/step-000004",
        "os.rename /records/after/.retain.jsonl.partial",
    ],
    "lora": [
        "os.rename /checkpoints/.reference.json.partial",
        "os.rmdir /checkpoints/step-000002",
        "open /.model.partial/config.json",
    ],
    "best epoch": [
        "os.rename /checkpoints/epochs/.epoch-002.partial",
        "os.rmdir /model",  # to replace it by the best epoch's
        "os.rmdir /checkpoints",  # when everything else is complete
    ],
    "finetune": [
        "os.rename /checkpoints/.step-000004.partial",
        "os.rmdir /checkpoints/step-000008",
    ],
}
"""Every moment of these runs was tried once; these are examples of each kind."""
QUICK = ("full", "os.rmdir /checkpoints/step-000004")


def outcome(folder):
    """All files, except where they contain times."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    steps = [json.loads(line) for line in files["metrics.jsonl"].read_text().splitlines()]
    content = {name: path.read_bytes() for name, path in files.items() if path.suffix != ".md"}
    content |= dict.fromkeys(("manifest.json", "metrics.jsonl"), b"")
    return content, [{key: value for key, value in step.items() if key != "seconds"} for step in steps]


@pytest.fixture(scope="module")
def never_stopped(child, settings, tmp_path_factory):
    """For each case: the command, and the folder of a run that was not killed."""
    made = {}

    def make(case):
        if case not in made:
            command, changes = CASES[case]
            values = merge_settings(settings, changes)
            if command == "finetune":
                values = {key: value for key, value in values.items() if key in FinetuneConfig.model_fields}
            root = tmp_path_factory.mktemp(command)
            (root / "config.yaml").write_text(yaml.safe_dump(values))
            start = [command, str(root / "config.yaml"), "--out"]
            assert child([*start, str(root / "whole")], str(root / "whole"), None) == 0
            made[case] = start, root / "whole"
        return made[case]

    return make


@pytest.mark.parametrize(
    ("case", "moment"),
    [
        pytest.param(case, moment, marks=() if (case, moment) == QUICK else pytest.mark.slow)
        for case in CASES
        for moment in MOMENTS[case]
    ],
)
def test_killed_and_resumed_is_the_same_as_never_stopped(never_stopped, child, tmp_path, case, moment):
    """Killed just before a write."""
    start, whole = never_stopped(case)
    out = tmp_path / "run"
    assert child([*start, str(out)], str(out), moment) == -signal.SIGKILL
    assert child([*start, str(out), "--resume"], str(out), None) == 0
    assert outcome(out) == outcome(whole)


@pytest.mark.slow
def test_the_case_with_the_best_epoch_leaves_another_than_the_last(never_stopped):
    _, whole = never_stopped("best epoch")
    assert RunFolder(whole).read_results().trajectory.kept < 3


@pytest.mark.slow
def test_a_process_killed_from_outside(never_stopped, child, tmp_path):
    """Another process is killed some time after its third step; it waits for that before its end."""
    start, whole = never_stopped("full")
    out = tmp_path / "run"
    before_its_end = "os.rename /records/after/.retain.jsonl.partial"
    process = processes.fork(killing.efface, [*start, str(out)], str(out), before_its_end, signal.SIGSTOP)
    metrics = out / "metrics.jsonl"
    while process.is_alive() and not (metrics.is_file() and metrics.read_text().count("\n") >= 3):
        time.sleep(0.001)
    process.kill()
    assert processes.exit_code(process) == -signal.SIGKILL
    assert child([*start, str(out), "--resume"], str(out), None) == 0
    assert outcome(out) == outcome(whole)
