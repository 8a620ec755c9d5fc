"""A queue that is killed, between requests or inside one, and goes on: nothing comes out otherwise."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
import yaml

from efface.config.parse import merge_settings, read_yaml

pytestmark = pytest.mark.slow  # quick: queues stopped in this process, tests/continual/

CHANGES = {
    "method": "dpo+kl",
    "data": {"authors": 3},
    "continual": {"requests": [1, 2], "reference": "first", "keep_models": "last"},
}
MOMENTS = [
    "os.rename /records/before/.forgotten-2.jsonl.partial",  # the first model is half asked
    "open /requests/01/.model.partial/config.json",  # trained from a checkpoint on
    "os.rename /requests/01/.results.json.partial",
    "os.rmdir /requests/01/checkpoints",  # done, but for what is tidied up
    "os.rename /requests/02/.manifest.json.partial",
    "os.rename /requests/02/records/after/.forgotten-1.jsonl.partial",
    "os.rmdir /requests/01/model",  # half of the model that nobody needs anymore
    "os.rename /.results.json.partial",
]


def outcome(out):
    """Everything that a queue is for, byte by byte."""
    kept = [*out.rglob("*.safetensors"), *out.rglob("results.json"), *out.glob("**/records/**/*.jsonl")]
    logs = {
        str(path.relative_to(out)): [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]
        for path in out.rglob("metrics.jsonl")
    }
    assert len(logs) == 2
    return {str(path.relative_to(out)): path.read_bytes() for path in kept} | logs


@pytest.fixture(scope="module")
def never_stopped(child, queue_settings, tmp_path_factory):
    """The config file and the folder of a queue that was not killed."""
    root = tmp_path_factory.mktemp("queue")
    file, out = root / "config.yaml", root / "whole"
    file.write_text(yaml.safe_dump(merge_settings(queue_settings, CHANGES)))
    assert child(["run", str(file), "--out", str(out)], str(out), None) == 0
    return file, out


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_is_the_same_as_never_stopped(never_stopped, child, tmp_path, moment):
    """`kill -9` just before a write."""
    file, whole = never_stopped
    out = tmp_path / "queue"
    command = ["run", str(file), "--out", str(out)]
    assert child(command, str(out), moment) == -signal.SIGKILL
    assert not (out / "results.json").exists()
    assert child([*command, "--resume"], str(out), None) == 0
    assert outcome(out) == outcome(whole)
    left = [sorted(str(path.relative_to(each)) for path in each.rglob("*")) for each in (out, whole)]
    assert left[0] == left[1]


@pytest.mark.parametrize(
    "moment",
    [
        "open /requests/02/.model.partial/config.json",  # trained from a checkpoint on
        "os.rmdir /requests/01/adapter",  # half of the adapter that nobody needs anymore
    ],
)
def test_a_kept_adapter_is_the_same_after_a_kill(kept_adapter, child, tmp_path, moment):
    file, whole = kept_adapter
    out = tmp_path / "queue"
    command = ["run", str(file), "--out", str(out)]
    assert child(command, str(out), moment) == -signal.SIGKILL
    assert child([*command, "--resume"], str(out), None) == 0
    assert outcome(out) == outcome(whole)
    left = [sorted(str(path.relative_to(each)) for path in each.glob("requests/*/*")) for each in (out, whole)]
    assert left[0] == left[1]
    assert "requests/02/adapter" in left[0]
    assert not {"requests/01/adapter", "requests/01/model"} & set(left[0])


@pytest.fixture(scope="module")
def kept_adapter(child, queue_settings, tmp_path_factory):
    """The config file and the folder of a queue whose requests train one adapter, watched; it was not killed."""
    root = tmp_path_factory.mktemp("kept")
    file, out = root / "config.yaml", root / "whole"
    changes = {
        **CHANGES,
        "continual": {"requests": [1, 2], "lora": "keep", "keep_models": "last"},
        "train": {"lora": {"r": 2, "dropout": 0.3}, "watch": True},
    }
    file.write_text(yaml.safe_dump(merge_settings(queue_settings, changes)))
    assert child(["run", str(file), "--out", str(out)], str(out), None) == 0
    return file, out


@pytest.fixture(scope="module")
def of_one(never_stopped, child, tmp_path_factory):
    """The folder of a finished queue that holds the first request alone."""
    file, _ = never_stopped
    out = tmp_path_factory.mktemp("one") / "queue"
    assert child(["run", str(file), "continual.requests=[1]", "--out", str(out)], str(out), None) == 0
    return out


@pytest.mark.parametrize(
    ("moment", "known"),
    [
        ("open /.config.yaml.partial", 1),
        ("os.rename /.manifest.json.partial", 2),
        ("os.rmdir /requests/02/checkpoints", 2),
        ("os.rmdir /requests/01/model", 2),
        ("os.rename /.results.json.partial", 2),
    ],
    ids=[
        "not yet among the settings",
        "among the settings and nowhere else",
        "unlearned, but for what is tidied up",
        "unlearned, and the model before it is half removed",
        "unlearned, and not among the queue's results",
    ],
)
def test_a_request_whose_addition_was_killed_is_added_by_the_same_command(
    never_stopped, of_one, child, tmp_path, moment, known
):
    _, whole = never_stopped
    out = tmp_path / "queue"
    shutil.copytree(of_one, out)
    command = ["request", "add", str(out), "2"]
    assert child(command, str(out), moment) == -signal.SIGKILL
    assert len(read_yaml(out / "config.yaml")["continual"]["requests"]) == known
    assert child(command, str(out), None) == 0
    assert outcome(out) == outcome(whole)
