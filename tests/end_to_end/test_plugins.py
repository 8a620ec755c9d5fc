"""Runs with plug-ins: resumed by their config, refused before anything is written, the same as built-in objectives."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

import efface as efface_package
from efface.artifacts import SetScores
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.config.plugins import load_plugins
from efface.errors import EffaceError
from efface.progress.reporter import SilentReporter
from efface.run.pipeline import run, unlearn
from support.plugins import PLUGINS, write


@pytest.fixture
def plugin_file(tmp_path, monkeypatch):
    """A file with an objective and a metric, `mine.py` in the working directory."""
    monkeypatch.chdir(tmp_path)
    return write("mine.py", PLUGINS)


@pytest.fixture
def short(settings):
    """Settings of a run of two steps."""
    return merge_settings(settings, {"train": {"epochs": 1, "batch_size": 10}, "evaluate": {"limit": 2}})


def test_a_run_by_command_is_resumed_by_its_config(efface, plugin_file, short, tmp_path):
    Path("run.yaml").write_text(yaml.safe_dump(short | {"method": "ascent+gd", "plugins": ["mine.py"]}))
    ran = efface("run", "run.yaml", "--out", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Other metrics by set" in ran.stdout
    results = json.loads(Path("out/results.json").read_text())
    assert results["method"] == "ascent+gd"
    for stage in ("before", "after"):
        for scores in results[stage]["sets"].values():
            assert SetScores.model_validate(scores).custom["length"] >= 0
    made = json.loads(Path("out/manifest.json").read_text())
    digest = hashlib.sha256(plugin_file.read_bytes()).hexdigest()
    assert made["plugins"] == {"mine.py:Ascent": digest, "mine.py:Length": digest}

    write("mine.py", PLUGINS + "\n# and another thing\n")
    assert "--allow-plugins" in efface("run", "out/config.yaml", "--out", "out", "--resume").stderr
    ran = efface("run", "out/config.yaml", "--out", "out", "--resume", "--allow-plugins")
    assert ran.returncode == 0
    assert f"mine.py:Ascent was {digest}" in " ".join((ran.stdout + ran.stderr).split())
    [note] = json.loads(Path("out/manifest.json").read_text())["notes"]
    assert f"mine.py:Ascent was {digest}" in note


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "lambda logp_N: logp_N",
            "lambda logp_N: logp_N.mean()",
            "efface: method ascent+gd, forget loss: it returned a te",
        ),
        ('"forget", lambda', '"forgotten", lambda', "efface: objective 'ascent' reads ('forgotten',); allowed are one"),
        ("class Length(", "class Length(Undefined, ", "efface: plug-in mine.py, line 12 cannot be imported (NameError"),
    ],
)
def test_refused_before_anything_is_written(efface, plugin_file, short, tmp_path, old, new, sentence):
    write("mine.py", PLUGINS.replace(old, new))
    Path("run.yaml").write_text(yaml.safe_dump(short | {"method": "ascent+gd", "plugins": ["mine.py"]}))
    ran = efface("run", "run.yaml", "--out", "out")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(sentence)
    assert ran.stderr.count("\n") == 1
    assert not Path("out").exists()


def test_training_does_not_go_on_with_another_objective(plugin_file, short):
    config = short | {"method": "ascent+gd", "plugins": ["mine.py"], "train": {**short["train"], "epochs": 2}}

    class Dying(SilentReporter):
        def on_step(self, log):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(validate_config(RunConfig, config), Path("out"), reporter=Dying())
    write("mine.py", PLUGINS.replace("lambda logp_N: logp_N", "lambda logp_N: 100 * logp_N"))
    with pytest.raises(EffaceError, match=r"--resume: mine\.py:Ascent has changed since the run started; start"):
        unlearn(validate_config(RunConfig, config), Path("out"), resume=True)
    write("mine.py", PLUGINS)
    unlearn(validate_config(RunConfig, config), Path("out"), resume=True)


def test_an_objective_that_the_method_does_not_name_is_warned_of(plugin_file, short):
    warned = []

    class Listening(SilentReporter):
        def on_warning(self, text):
            warned.append(text)

    unlearn(validate_config(RunConfig, short | {"plugins": ["mine.py"]}), Path("out"), reporter=Listening())
    assert "method me+gd does not use the plug-in ascent" in warned


def test_a_metric_fails_before_training(plugin_file, short):
    write("mine.py", PLUGINS.replace("len(record.output)", "record.outptu"))
    config = validate_config(RunConfig, short | {"plugins": ["mine.py:Length"]})
    with pytest.raises(EffaceError, match=r"metric 'length', set retain, question .*: it failed \(AttributeError: "):
        run(config, Path("out"))
    assert sorted(path.name for path in Path("out").iterdir()) == ["config.yaml", "manifest.json", "records"]
    write("mine.py", PLUGINS)  # its records are kept
    results = run(validate_config(RunConfig, short | {"plugins": [f"{plugin_file}:Length"]}), Path("out"), resume=True)
    assert set(results.after.sets["forget"].custom) == {"length"}


def test_the_same_run_from_a_class_and_from_a_file(plugin_file, short):
    """`ascent` is `ga` under another name: the weights are the same."""
    run(validate_config(RunConfig, short | {"method": "ga+gd"}), Path("built-in"))
    [ascent, _] = load_plugins("mine.py")
    efface_package.unlearn(out="custom", plugins=[ascent.cls], **short | {"method": "ascent+gd"})
    weights = [(Path(out) / "model" / "model.safetensors").read_bytes() for out in ("built-in", "custom")]
    assert weights[0] == weights[1]
