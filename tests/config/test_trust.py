"""Code that a run's folder names runs only if the user says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.config.commands import EvaluationConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.config.trust import allow_saved_code, check_saved_code, named_code
from efface.continual.folder import QueueFolder
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from support.messages import assert_names

PLUGIN = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"
"""Leaves a trace where it is imported."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run, somebody else's, whose settings name a plug-in."""
    folder = tmp_path / "run"
    folder.mkdir()
    RunPaths(folder).manifest.write_text("{}")
    (folder / "theirs.py").write_text(PLUGIN)
    settings = {
        "method": "ga",
        "model": "m",
        "data": {"forget": "f.csv"},
        "plugins": [str(folder / "theirs.py")],
        "continual": {"requests": ["f.csv", "g.csv"]},
    }
    RunPaths(folder).config.write_text(yaml.safe_dump(settings))
    return folder


def imported(run: Path) -> bool:
    return (run / "theirs.ran").exists()


@pytest.mark.parametrize("config_class", [RunConfig, EvaluationConfig])
def test_plugins_of_a_run_are_refused(run: Path, config_class: Any) -> None:
    with pytest.raises(EffaceError) as caught:
        resolve_config(config_class, str(run / "config.yaml"))
    assert_names(str(caught.value), str(run / "config.yaml"), "plugins=", "theirs.py", "--allow-plugins")
    assert not imported(run)


def test_plugins_of_a_queue_are_refused(run: Path) -> None:
    with pytest.raises(EffaceError) as caught:
        QueueFolder(run).read()
    assert_names(str(caught.value), str(run / "config.yaml"), "--allow-plugins")
    assert not imported(run)


def test_plugins_run_where_they_are_allowed(run: Path) -> None:
    with allow_saved_code(True), pytest.raises(EffaceError) as caught:
        resolve_config(RunConfig, str(run / "config.yaml"))
    assert_names(str(caught.value), "defines no plug-in")  # it was imported
    assert imported(run)
    (run / "theirs.ran").unlink()
    with pytest.raises(EffaceError):
        QueueFolder(run).read()
    assert not imported(run)


def test_the_users_own_plugins_replace_those_of_the_run(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import efface\nclass Mine(efface.RecordMetric):\n    name = 'mine'\n    def score(self, record): return 0.0\n"
    )
    config = resolve_config(EvaluationConfig, str(run / "config.yaml"), [f"plugins={mine}"])
    assert [plugin.spec for plugin in config.plugins] == [f"{mine}:Mine"]
    assert not imported(run)


def test_a_config_file_of_the_user_names_what_it_wants(run: Path) -> None:
    RunPaths(run).manifest.unlink()
    with pytest.raises(EffaceError) as caught:
        resolve_config(RunConfig, str(run / "config.yaml"))
    assert_names(str(caught.value), "defines no plug-in")
    assert imported(run)


@pytest.mark.parametrize(
    ("saved", "given", "refused"),
    [
        ({}, {}, None),
        ({"plugins": []}, {}, None),
        ({"plugins": "a.py"}, {}, "plugins=a.py"),
        ({"plugins": ["a.py", "b.py"]}, {}, "plugins=a.py,b.py"),
        ({"plugins": ["a.py"]}, {"plugins": ["a.py"]}, None),
        ({"plugins": ["a.py"]}, {"plugins": ["b.py"]}, None),
        ({"downstream": {"include": "tasks"}}, {}, "downstream.include=tasks"),
        ({"downstream": {"include": "tasks"}}, {"downstream": {"include": "mine"}}, None),
        ({"downstream": {"include": None}}, {}, None),
        ({"downstream": True}, {}, None),
        ({"plugins": ["a.py"], "downstream": {"include": "tasks"}}, {"plugins": ["a.py"]}, "downstream.include=tasks"),
    ],
)
def test_which_settings_are_code(run: Path, saved: Any, given: Any, refused: str | None) -> None:
    path = run / "config.yaml"
    if refused is None:
        check_saved_code(saved, given, path)
        return
    with pytest.raises(EffaceError) as caught:
        check_saved_code(saved, given, path)
    assert_names(str(caught.value), refused, str(path))
    with allow_saved_code(True):
        check_saved_code(saved, given, path)


def test_named_code_of_nothing() -> None:
    assert set(named_code({}).values()) == {""}


@pytest.mark.parametrize("value", [5, {"a": 1}])
def test_named_code_of_another_type(value: object) -> None:
    assert named_code({"plugins": value})["plugins"] == str(value)
