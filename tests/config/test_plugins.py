"""Plug-ins: which classes a setting names, how they are found again, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from efface.config.commands import EvaluationConfig, RunConfig
from efface.config.parse import merge_settings, parse_pairs, to_yaml, validate_config
from efface.config.plugins import custom_metrics, custom_objectives, load_plugins, plugin_hashes
from efface.errors import EffaceError
from efface.scores.custom import RecordMetric
from support.plugins import PLUGINS, write

REQUIRED = {"method": "me+gd", "model": "m", "data": "synthetic-authors"}


class Words(RecordMetric):
    """Given as a class."""

    name = "words"

    def score(self, record):
        """How many."""
        return len(record.output.split())


@pytest.fixture
def plugin_file(tmp_path, monkeypatch):
    """A file with an objective and a metric, `mine.py` in the working directory."""
    monkeypatch.chdir(tmp_path)
    return write("mine.py", PLUGINS)


def specs(given):
    return [plugin.spec for plugin in load_plugins(given)]


def test_a_file_gives_all_its_plugins(plugin_file):
    assert specs("mine.py") == specs(Path("mine.py")) == ["mine.py:Ascent", "mine.py:Length"]
    assert specs(["mine.py:Length"]) == ["mine.py:Length"]
    assert specs(["mine.py:Length", "mine.py"]) == ["mine.py:Length", "mine.py:Ascent"]
    assert specs(str(plugin_file.absolute())) == [
        f"{plugin_file.absolute()}:Ascent",
        f"{plugin_file.absolute()}:Length",
    ]
    loaded = load_plugins("mine.py")
    assert [each.name for each in custom_objectives(loaded)] == ["ascent"]
    assert [each.name for each in custom_metrics(loaded)] == ["length"]
    assert load_plugins(loaded) == loaded
    assert load_plugins(None) == load_plugins([]) == ()


def test_a_module_and_a_package_that_imports_from_its_modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "of_mine" / "metrics.py", PLUGINS)
    write(tmp_path / "of_mine" / "__init__.py", "from efface import RecordMetric\nfrom of_mine.metrics import Length\n")
    assert specs("of_mine.metrics") == ["of_mine.metrics:Ascent", "of_mine.metrics:Length"]
    assert specs("of_mine") == ["of_mine:Length"]
    assert specs("of_mine.metrics:Length") == ["of_mine.metrics:Length"]


def test_a_class_is_named_by_its_module_in_a_package_or_else_by_its_file(tmp_path, monkeypatch):
    """Another process can import installed packages, but not a file next to a script."""
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "in_package" / "__init__.py", PLUGINS)
    lone = write(tmp_path / "lone_file_of_mine.py", PLUGINS)
    assert specs(import_module("in_package").Length) == ["in_package:Length"]
    assert specs(import_module("lone_file_of_mine").Length) == [f"{lone}:Length"]


def test_a_file_is_read_as_it_is_now(plugin_file):
    first = load_plugins("mine.py")
    write("mine.py", PLUGINS.replace("len(record.output)", "2 * len(record.output)"))
    assert load_plugins("mine.py") == first
    assert load_plugins("mine.py")[1].sha256 == hashlib.sha256(plugin_file.read_bytes()).hexdigest()


def test_classes_that_a_function_makes_are_all_used():
    def make(called, value):
        class Made(RecordMetric):
            name = called

            def score(self, record):
                return value

        return Made

    both = load_plugins([make("one", 1.0), make("two", 2.0)])
    assert [(each.name, each.score(None)) for each in custom_metrics(both)] == [("one", 1.0), ("two", 2.0)]
    assert load_plugins(both) == both
    with pytest.raises(EffaceError, match="are both called 'one'; rename one"):
        load_plugins([make("one", 1.0), make("one", 2.0)])


# In settings


def test_a_method_may_name_a_custom_objective_that_is_given(plugin_file):
    pairs = ["method=Ascent+GD", "plugins=mine.py"]
    assert validate_config(RunConfig, merge_settings(REQUIRED, parse_pairs(pairs, RunConfig))).method == "ascent+gd"
    with pytest.raises(EffaceError, match=r"unknown method 'ascent\+gd'"):
        validate_config(RunConfig, REQUIRED | {"method": "ascent+gd"})


@pytest.mark.parametrize("config_class", [RunConfig, EvaluationConfig])
@pytest.mark.parametrize("given", ["mine.py", ["mine.py"], ["mine.py:Length", Words]])
def test_settings_with_plugins_are_read_back(plugin_file, config_class, given):
    required = {key: value for key, value in REQUIRED.items() if key in config_class.model_fields}
    config = validate_config(config_class, required | {"plugins": given})
    text = to_yaml(config)
    assert yaml.safe_load(text)["plugins"] == specs(given)
    assert validate_config(config_class, yaml.safe_load(text)) == config
    assert to_yaml(validate_config(config_class, yaml.safe_load(text))) == text


def test_without_plugins_nothing_is_loaded():
    assert validate_config(RunConfig, REQUIRED).plugins == ()
    code = (
        "import sys; from efface.config.commands import RunConfig; from efface.config.parse import validate_config;"
        f"validate_config(RunConfig, {REQUIRED!r}); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# Refused


def needy():
    class Needy(Words):
        def __init__(self, phrases):
            self.phrases = phrases

    return Needy


@pytest.mark.parametrize(
    ("given", "text", "named"),
    [
        ("none.py", "", ["plug-in none.py", "no such file", "working directory"]),
        ("no.such.module", "", ["plug-in 'no.such.module'", "no such module", "path/to/file.py"]),
        ("folder/file", "", ["plug-in 'folder/file'", "no such module", "path/to/file.py"]),
        ("bad.py", "x = 1\ny = z\n", ["plug-in bad.py, line 2", "NameError: name 'z' is not defined"]),
        ("bad.py", "x = 1\ny z\n", ["plug-in bad.py, line 2", "SyntaxError: invalid syntax"]),
        ("bad.py", "import no_such_thing\n", ["plug-in bad.py, line 1", "ModuleNotFoundError"]),
        ("bad.py", "import sys\nsys.exit('usage: ...')\n", ["plug-in bad.py, line 2", "SystemExit: usage"]),
        ("bad.py", "import efface\n", ["bad.py defines no plug-in", "efface.ForgetObjective"]),
        ("mine.py:Lenth", "", ["plug-in mine.py:Lenth", "no such class", "Ascent, Length"]),
        ("mine.py:Helper", "", ["plug-in mine.py:Helper", "derive it from one of efface.ForgetObjective"]),
        ("mine.py:_Private", "", ["plug-in mine.py:_Private", "the method score"]),
        ("__main__:Words", "", ["plug-in __main__:Words", "a function or a notebook", "a file"]),
        ("mine.py:f.<locals>.Words", "", ["plug-in mine.py:f.<locals>.Words", "a function or a notebook"]),
        (3, "", ["plugins: 3 is not a plug-in", "path/to/file.py", ":Class"]),
        (int, "", ["plug-in int", "derive it from one of efface.ForgetObjective"]),
        (needy(), "", ["Needy cannot be instantiated", "TypeError", "'phrases'", "no arguments"]),
        (["mine.py", "other.py"], PLUGINS, ["mine.py:Ascent and other.py:Ascent", "'ascent'", "rename one"]),
        ("broken_module", "1 / 0\n", ["plug-in broken_module", "ZeroDivisionError"]),
    ],
)
def test_refused(plugin_file, tmp_path, monkeypatch, given, text, named):
    monkeypatch.syspath_prepend(tmp_path)
    if text:
        file = given[-1] if isinstance(given, list) else given
        write(file if file.endswith(".py") else f"{file}.py", text)
    with pytest.raises(EffaceError) as refused:
        load_plugins(given)
    assert all(part in str(refused.value) for part in named)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (None, ["has no name", "lower-case letters", 'name = "mine"']),
        ("WGA", ["is called 'WGA'", "lower-case letters"]),
        ("a+b", ["is called 'a+b'", "lower-case letters"]),
        (7, ["is called 7", "lower-case letters"]),
        ("rouge", ["is called 'rouge'", "built-in"]),
        ("model_utility", ["is called 'model_utility'", "built-in"]),
    ],
)
def test_refused_names(name, named):
    body = {"score": lambda self, record: 1.0} | ({} if name is None else {"name": name})
    with pytest.raises(EffaceError, match="plug-in Mine ") as refused:
        load_plugins(type("Mine", (RecordMetric,), body))
    assert all(part in str(refused.value) for part in named)


@pytest.mark.parametrize("name", ["gd", "me", "llmu"])
def test_names_of_built_in_objectives(plugin_file, name):
    write("taken.py", PLUGINS.replace("ascent", name))
    with pytest.raises(EffaceError, match=f"plug-in taken.py:Ascent is called '{name}', .*built-in"):
        load_plugins("taken.py")


def test_objectives_and_metrics_have_separate_names(plugin_file):
    write("taken.py", PLUGINS.replace('"ascent"', '"rouge"').replace('"length"', '"gd"'))
    assert specs("taken.py") == ["taken.py:Ascent", "taken.py:Length"]


def test_hashes_of_files(plugin_file):
    digest = hashlib.sha256(plugin_file.read_bytes()).hexdigest()
    assert plugin_hashes(load_plugins("mine.py")) == {"mine.py:Ascent": digest, "mine.py:Length": digest}
    typed = type("Typed", (Words,), {"__module__": "nowhere"})
    assert plugin_hashes(load_plugins(typed)) == {}
