"""No command unpickles anything: folders of a run, a model, a queue or data that somebody else made run no code."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from pathlib import Path

import pytest
import yaml

import efface as package
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.queue import run_queue
from efface.progress.reporter import SilentReporter
from efface.run.pipeline import run
from support import processes
from support.unpickling import IN_CHECKPOINTS, IN_MODELS, Malicious, efface, plant

SAFE = {"weights_only": True}
RESTRICTED = Path(package.__file__).parent / "train" / "checkpoints" / "pickled_shards.py"
"""Has an unpickler that creates nothing but the description of shards; `test_pickled_shards` shows it."""


class Stopping(SilentReporter):
    """Stops a run after its first checkpoint, as a kill would."""

    def on_step(self, log):
        if log.step == 4:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def config(settings):
    return validate_config(RunConfig, merge_settings(settings, {"evaluate": {"limit": 1}}))


@pytest.fixture(scope="module")
def made(config, queue_settings, tmp_path_factory):
    """A finished run, one that was stopped, and a queue of one request."""
    root = tmp_path_factory.mktemp("made")
    run(config, root / "finished")
    with pytest.raises(KeyboardInterrupt):
        run(config, root / "stopped", reporter=Stopping())
    changes = {"continual": {"requests": [1]}, "evaluate": {"limit": 1}}
    run_queue(validate_config(RunConfig, merge_settings(queue_settings, changes)), root / "queue")
    return root


@pytest.fixture
def hostile(made, source, tmp_path):
    """Copies of these and of a model, with a malicious pickle under every name in every folder; no sums forbid them."""
    for name in ("finished", "stopped", "queue"):
        folder = shutil.copytree(made / name, tmp_path / name)
        plant(folder, (*IN_MODELS, *IN_CHECKPOINTS), tmp_path / "owned")
        for manifest in folder.rglob("manifest.json"):
            values = json.loads(manifest.read_text())
            manifest.write_text(json.dumps({**values, "files": None}))
    # what is really read is as the run wrote it, so that it is read
    shutil.copytree(made / "stopped" / "checkpoints", tmp_path / "stopped" / "checkpoints", dirs_exist_ok=True)
    for sums in tmp_path.rglob("SHA256SUMS"):
        sums.unlink()
    model = shutil.copytree(source, tmp_path / "model")
    plant(model, IN_MODELS, tmp_path / "owned")
    (tmp_path / "forget.pkl").write_bytes(pickle.dumps(Malicious(tmp_path / "owned")))
    return tmp_path


@pytest.fixture
def command(tmp_path):
    """Run a command in a process that writes down what an unpickler looks up; returns its exit code."""

    def call(*arguments):
        words = [str(each) for each in arguments]
        return processes.exit_code(processes.fork(efface, words, str(tmp_path / "unpickled")))

    return call


@pytest.mark.parametrize("name", ["resume", "model", "finetune", "evaluate", "read", "queue", "data"])
def test_no_command_unpickles(hostile, command, config, name):
    settings = config.model_dump(mode="json")
    (hostile / "config.yaml").write_text(yaml.safe_dump(settings))
    small = ["data.source=synthetic-authors", "data.authors=3", "data.forget_authors=1", "text.format=plain"]
    ours = [hostile / "config.yaml", f"model={hostile / 'model'}"]
    commands = {
        "resume": [("run", hostile / "config.yaml", "--out", hostile / "stopped", "--resume")],
        "model": [("run", *ours, "--out", hostile / "new")],
        "finetune": [("finetune", *small, f"model={hostile / 'model'}", "train.epochs=1", "--out", hostile / "new")],
        "evaluate": [("evaluate", *ours, "--before", hostile / "finished", "--out", hostile / "new")],
        "read": [(word, hostile / "finished") for word in ("score", "report", "leaderboard", "verify")],
        "queue": [("request", "add", hostile / "queue", "2")],
        "data": [("data", "check", f"data.forget={hostile / 'forget.pkl'}")],
    }
    for arguments in commands[name]:
        assert command(*arguments) == (2 if name == "data" else 0), arguments
    assert not (hostile / "owned").exists(), "code was run"
    unpickled = hostile / "unpickled"
    assert not unpickled.exists(), unpickled.read_text()


def test_the_watch_sees_what_would_run_code(hostile, command, monkeypatch):
    """Otherwise the test above would show nothing."""
    (hostile / "plugin.py").write_text(
        f"import pickle\nfrom pathlib import Path\npickle.loads(Path({str(hostile / 'forget.pkl')!r}).read_bytes())\n"
    )
    command("score", hostile / "finished", "--plugin", hostile / "plugin.py")
    assert (hostile / "owned").exists()
    assert "touch" in (hostile / "unpickled").read_text()


def test_the_sources_call_no_unpickler():
    """Only checkpoints of earlier versions are unpickled: with weights_only=True, and shards by `RESTRICTED`."""
    for path in Path(package.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None), *(each.name for each in node.names)]
                modules = {name.split(".")[0] for name in names if name}
                unpicklers = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
                assert path == RESTRICTED or not modules & unpicklers, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
                options = {each.arg: ast.literal_eval(each.value) for each in node.keywords if each.arg in SAFE}
                assert options == SAFE, f"{path}, line {node.lineno}"
