"""Plug-ins: which classes a setting names, how they are found again, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

import efface as package
from efface.artifacts import SetScores
from efface.config.commands import EvaluationConfig, RunConfig
from efface.config.parse import merge_settings, parse_pairs, to_yaml, validate_config
from efface.config.plugins import custom_metrics, custom_objectives, load_plugins
from efface.errors import EffaceError
from efface.progress.reporter import SilentReporter
from efface.run.pipeline import run, unlearn
from efface.scores.custom import RecordMetric

REQUIRED = {"method": "me+gd", "model": "m", "data": "synthetic-authors"}
WRITTEN = """\
import efface
from efface import ForgetObjective, RecordMetric


class Ascent(ForgetObjective):
    name = "ascent"

    def term(self, config):
        return efface.TokenTerm("forget", lambda logp_N: logp_N)


class Length(RecordMetric):
    name = "length"

    def score(self, record):
        return len(record.output)


class _Private(RecordMetric):
    name = "private"


class Helper:
    pass
"""


class Words(RecordMetric):
    """Given as a class."""

    name = "words"

    def score(self, record):
        """How many."""
        return len(record.output.split())


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A file with an objective and a metric, `mine.py` in the working directory."""
    monkeypatch.chdir(tmp_path)
    return write("mine.py", WRITTEN)


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(dedent(text))
    return Path(name)


def specs(given):
    return [plugin.spec for plugin in load_plugins(given)]


# Which classes


def test_a_file_stands_for_what_is_written_in_it(written):
    assert specs("mine.py") == specs(Path("mine.py")) == ["mine.py:Ascent", "mine.py:Length"]
    assert specs(["mine.py:Length"]) == ["mine.py:Length"]
    assert specs(["mine.py:Length", "mine.py"]) == ["mine.py:Length", "mine.py:Ascent"]
    assert specs(str(written.absolute())) == [f"{written.absolute()}:Ascent", f"{written.absolute()}:Length"]
    loaded = load_plugins("mine.py")
    assert [each.name for each in custom_objectives(loaded)] == ["ascent"]
    assert [each.name for each in custom_metrics(loaded)] == ["length"]
    assert load_plugins(loaded) == loaded
    assert load_plugins(None) == load_plugins([]) == ()


def test_a_module_and_a_package_that_shows_those_of_its_modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "of_mine" / "metrics.py", WRITTEN)
    write(tmp_path / "of_mine" / "__init__.py", "from efface import RecordMetric\nfrom of_mine.metrics import Length\n")
    assert specs("of_mine.metrics") == ["of_mine.metrics:Ascent", "of_mine.metrics:Length"]
    assert specs("of_mine") == ["of_mine:Length"]
    assert specs("of_mine.metrics:Length") == ["of_mine.metrics:Length"]


def test_a_class_is_named_by_the_module_of_its_package_or_by_its_lone_file(tmp_path, monkeypatch):
    """Another process finds installed packages, but not a file beside some script."""
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "in_package" / "__init__.py", WRITTEN)
    lone = write(tmp_path / "lone_file_of_mine.py", WRITTEN)
    assert specs(import_module("in_package").Length) == ["in_package:Length"]
    assert specs(import_module("lone_file_of_mine").Length) == [f"{lone}:Length"]


def test_a_file_is_read_as_it_is_now(written):
    first = load_plugins("mine.py")
    write("mine.py", WRITTEN.replace("len(record.output)", "2 * len(record.output)"))
    assert load_plugins("mine.py") == first
    assert load_plugins("mine.py")[1].sha256 == hashlib.sha256(written.read_bytes()).hexdigest()


# In settings


def test_a_method_may_name_one_only_where_it_is_given(written):
    pairs = ["method=Ascent+GD", "plugins=mine.py"]
    assert validate_config(RunConfig, merge_settings(REQUIRED, parse_pairs(pairs, RunConfig))).method == "ascent+gd"
    with pytest.raises(EffaceError, match=r"unknown method 'ascent\+gd'"):
        validate_config(RunConfig, REQUIRED | {"method": "ascent+gd"})


@pytest.mark.parametrize("kind", [RunConfig, EvaluationConfig])
@pytest.mark.parametrize("given", ["mine.py", ["mine.py"], ["mine.py:Length", Words]])
def test_settings_with_plugins_survive_their_own_yaml(written, kind, given):
    required = {key: value for key, value in REQUIRED.items() if key in kind.model_fields}
    config = validate_config(kind, required | {"plugins": given})
    text = to_yaml(config)
    assert yaml.safe_load(text)["plugins"] == specs(given)
    assert validate_config(kind, yaml.safe_load(text)) == config
    assert to_yaml(validate_config(kind, yaml.safe_load(text))) == text


def test_without_plugins_nothing_is_loaded():
    assert validate_config(RunConfig, REQUIRED).plugins == ()
    code = (
        "import sys; from efface.config.commands import RunConfig; from efface.config.parse import validate_config;"
        f"validate_config(RunConfig, {REQUIRED!r}); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# Refused


@pytest.mark.parametrize(
    ("given", "text", "sentence"),
    [
        ("none.py", "", "plug-in none.py: there is no such file; paths start from the working directory"),
        ("no.such.module", "", "plug-in 'no.such.module': no such module is installed; for a file, give path/to"),
        ("folder/file", "", "plug-in 'folder/file': no such module is installed; for a file, give path/to/file.py"),
        ("bad.py", "x = 1\ny = z\n", "plug-in bad.py, line 2 does not import (NameError: name 'z' is not defined"),
        ("bad.py", "x = 1\ny z\n", "plug-in bad.py, line 2 does not import (SyntaxError: invalid syntax"),
        ("bad.py", "import no_such_thing\n", "plug-in bad.py, line 1 does not import (ModuleNotFoundError: No mod"),
        ("bad.py", "import sys\nsys.exit('usage: ...')\n", "plug-in bad.py, line 2 does not import (SystemExit: usage"),
        ("bad.py", "import efface\n", "plug-in bad.py holds no plug-in; derive a class in it from one of efface.Forg"),
        ("mine.py:Lenth", "", "plug-in mine.py:Lenth: there is no such class; plug-in classes there: Ascent, Length"),
        ("mine.py:Helper", "", "plug-in mine.py:Helper is no plug-in; derive it from one of efface.ForgetObjective"),
        ("mine.py:_Private", "", "plug-in mine.py:_Private lacks the method score; write it"),
        ("__main__:Words", "", "plug-in __main__:Words was written inside a function or a notebook"),
        ("mine.py:f.<locals>.Words", "", "plug-in mine.py:f.<locals>.Words was written inside a function"),
        (3, "", "plugins: 3 is no plug-in; give path/to/file.py or package.module, either with :Class behind it, or"),
        (int, "", "plug-in int is no plug-in; derive it from one of efface.ForgetObjective"),
    ],
)
def test_what_cannot_be_loaded(written, given, text, sentence):
    if text:
        write(given, text)
    with pytest.raises(EffaceError, match=re.escape(sentence)) as refused:
        load_plugins(given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, 'has no name; give it one of lower-case letters, digits, - and _, such as name = "own"'),
        ("WGA", "is called 'WGA'; give it one of lower-case letters"),
        ("a+b", "is called 'a+b'; give it one of"),
        (7, "is called 7; give it one of"),
        ("rouge", "is called 'rouge', as something built in is; give it another name"),
        ("model_utility", "is called 'model_utility', as something built in is"),
    ],
)
def test_names_that_cannot_be_used(name, sentence):
    body = {"score": lambda self, record: 1.0} | ({} if name is None else {"name": name})
    with pytest.raises(EffaceError, match=re.escape(f"plug-in Own {sentence}")):
        load_plugins(type("Own", (RecordMetric,), body))


def test_names_of_built_in_objectives_are_taken(written):
    for name in ("gd", "me", "llmu"):
        write("taken.py", WRITTEN.replace("ascent", name))
        with pytest.raises(EffaceError, match=f"plug-in taken.py:Ascent is called '{name}', as something built in is"):
            load_plugins("taken.py")
    write("taken.py", WRITTEN.replace('"ascent"', '"rouge"').replace('"length"', '"gd"'))
    assert specs("taken.py") == ["taken.py:Ascent", "taken.py:Length"]  # methods and metrics do not meet


def test_two_of_one_name(written):
    write("other.py", WRITTEN)
    with pytest.raises(EffaceError, match=r"plug-ins mine.py:Ascent and other.py:Ascent are both called 'ascent'; ren"):
        load_plugins(["mine.py", "other.py"])


def test_one_that_cannot_be_made():
    class Needy(Words):
        def __init__(self, phrases):
            self.phrases = phrases

    with pytest.raises(EffaceError, match=r"Needy cannot be made \(TypeError: .*'phrases'\); let it take no arguments"):
        load_plugins(Needy)


# In a run


@pytest.fixture
def short(settings):
    """Settings of a run of two steps."""
    return merge_settings(settings, {"train": {"epochs": 1, "batch_size": 10}, "evaluate": {"limit": 2}})


def test_a_run_by_command_is_resumed_by_its_config(efface, written, short, tmp_path):
    Path("run.yaml").write_text(yaml.safe_dump(short | {"method": "ascent+gd", "plugins": ["mine.py"]}))
    ran = efface("run", "run.yaml", "--out", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Custom metrics by set" in ran.stdout
    results = json.loads(Path("out/results.json").read_text())
    assert results["method"] == "ascent+gd"
    for stage in ("before", "after"):
        for scores in results[stage]["sets"].values():
            assert SetScores.model_validate(scores).custom["length"] >= 0
    made = json.loads(Path("out/manifest.json").read_text())
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert made["plugins"] == {"mine.py:Ascent": digest, "mine.py:Length": digest}

    write("mine.py", WRITTEN + "\n# and another thing\n")
    ran = efface("run", "out/config.yaml", "--out", "out", "--resume")
    assert (ran.returncode, ran.stderr) == (0, "")
    [note] = json.loads(Path("out/manifest.json").read_text())["notes"]
    assert f"mine.py:Ascent was {digest}" in note


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "lambda logp_N: logp_N",
            "lambda logp_N: logp_N.mean()",
            "efface: method ascent+gd, forget loss: it gave a te",
        ),
        ('"forget", lambda', '"forgotten", lambda', "efface: objective 'ascent' reads ('forgotten',); allowed are one"),
        ("class Length(", "class Length(Undefined, ", "efface: plug-in mine.py, line 12 does not import (NameError"),
    ],
)
def test_refused_before_anything_is_written(efface, written, short, tmp_path, old, new, sentence):
    write("mine.py", WRITTEN.replace(old, new))
    Path("run.yaml").write_text(yaml.safe_dump(short | {"method": "ascent+gd", "plugins": ["mine.py"]}))
    ran = efface("run", "run.yaml", "--out", "out")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(sentence)
    assert ran.stderr.count("\n") == 1
    assert not Path("out").exists()


def test_training_does_not_go_on_with_another_objective(written, short):
    config = short | {"method": "ascent+gd", "plugins": ["mine.py"], "train": {**short["train"], "epochs": 2}}

    class Dying(SilentReporter):
        def on_step(self, log):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(validate_config(RunConfig, config), Path("out"), reporter=Dying())
    write("mine.py", WRITTEN.replace("lambda logp_N: logp_N", "lambda logp_N: 100 * logp_N"))
    with pytest.raises(EffaceError, match=r"--resume: mine\.py:Ascent has changed since the run started; start"):
        unlearn(validate_config(RunConfig, config), Path("out"), resume=True)
    write("mine.py", WRITTEN)
    unlearn(validate_config(RunConfig, config), Path("out"), resume=True)


def test_an_objective_that_the_method_does_not_name_is_warned_of(written, short):
    warned = []

    class Listening(SilentReporter):
        def on_warning(self, text):
            warned.append(text)

    unlearn(validate_config(RunConfig, short | {"plugins": ["mine.py"]}), Path("out"), reporter=Listening())
    assert "method me+gd does not use the plug-in ascent" in warned


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


def test_a_module_that_fails_to_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "broken_module_of_mine.py", "1 / 0\n")
    with pytest.raises(EffaceError, match=r"plug-in broken_module_of_mine does not import \(ZeroDivisionError"):
        load_plugins("broken_module_of_mine")


def test_a_metric_fails_before_training(written, short):
    write("mine.py", WRITTEN.replace("len(record.output)", "record.outptu"))
    config = validate_config(RunConfig, short | {"plugins": ["mine.py:Length"]})
    with pytest.raises(EffaceError, match=r"metric 'length', set retain, question .*: it failed \(AttributeError: "):
        run(config, Path("out"))
    assert sorted(path.name for path in Path("out").iterdir()) == ["config.yaml", "manifest.json", "records"]
    write("mine.py", WRITTEN)  # its records are kept
    results = run(validate_config(RunConfig, short | {"plugins": [f"{written}:Length"]}), Path("out"), resume=True)
    assert set(results.after.sets["forget"].custom) == {"length"}


def test_the_same_run_from_a_class_and_from_a_file(written, short):
    """`ascent` is `ga` under another name: the weights are the same."""
    run(validate_config(RunConfig, short | {"method": "ga+gd"}), Path("built-in"))
    [ascent, _] = load_plugins("mine.py")
    package.unlearn(out="own", plugins=[ascent.cls], **short | {"method": "ascent+gd"})
    weights = [(Path(out) / "model" / "model.safetensors").read_bytes() for out in ("built-in", "own")]
    assert weights[0] == weights[1]
