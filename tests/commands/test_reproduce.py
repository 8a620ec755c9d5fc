"""A run is repeated: the same numbers, or which differ; what is no longer there is named before anything runs."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from transformers import AutoModelForCausalLM

from efface.artifacts import Manifest
from efface.commands.reproduce import reproduce
from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.errors import EffaceError
from efface.files.sums import file_sum
from efface.progress.reporter import SilentReporter
from efface.run.pipeline import run as run_pipeline
from efface.run.pipeline import unlearn
from support.audit_results import results as audit_results
from support.messages import assert_names
from support.runs import Told

ROWS = "question,answer\n" + "".join(f"Who is {name}?,{name} is a painter.\n" for name in "ABC")
PLUGIN = """
from pathlib import Path
Path({ran!r}).touch()
import efface

class Length(efface.RecordMetric):
    name = "length"

    def score(self, record):
        return 1.0
"""


@pytest.fixture(scope="module")
def place(settings, tmp_path_factory):
    """A folder with data and a finished run, `run`."""
    place = tmp_path_factory.mktemp("place")
    for name in ("forget", "retain"):
        (place / f"{name}.csv").write_text(ROWS.replace("Who", "Where") if name == "retain" else ROWS)
    data = {"forget": str(place / "forget.csv"), "retain": str(place / "retain.csv")}
    train = {**settings["train"], "epochs": 1, "batch_size": 3}
    config = validate_config(RunConfig, {**settings, "data": data, "train": train})
    run_pipeline(config, place / "run")
    unlearn(config, place / "unlearned")
    return place


@pytest.fixture
def run(place, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(place / "run", tmp_path / "run")


def change_manifest(run, **values):
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_results(run, change):
    """Edit results.json and its sum, as if the run had written that."""
    path = run / "results.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    files = json.loads((run / "manifest.json").read_text())["files"]
    change_manifest(run, files={**files, "results.json": file_sum(path)})


def test_the_same_bytes(run, tmp_path, efface):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    ran = efface("reproduce", str(run), "--json")
    assert ran.returncode == 0
    found = json.loads(ran.stdout)
    assert (found["schema"], found["is_same"], found["numbers"]["different"]) == (1, True, [])
    assert found["out"] == str(tmp_path / "run-again")
    assert found["numbers"]["compared"] > 50
    assert {"model/model.safetensors", "records/after/forget.jsonl"} <= set(found["same_files"])
    names = " ".join(each["name"] for each in found["checks"])
    assert_names(names, "config.yaml", "forget.csv", "retain.csv", "torch", "device", "commit", "processor")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_numbers_that_differ_are_named_with_their_digits(run, efface):
    def change(results):
        results["after"]["sets"]["forget"]["probability"] *= 1.001
        return results

    change_results(run, change)
    files = json.loads((run / "manifest.json").read_text())["files"]
    change_manifest(run, files={**files, "model/model.safetensors": "0" * 64})
    ran = efface("reproduce", str(run), "--out", str(run.parent / "other"))
    assert ran.returncode == 1
    assert_names(ran.stdout, "results.after.sets.forget.probability", "3 digits", "model/model.safetensors differs")
    assert (run.parent / "other" / "results.json").is_file()


def test_an_audit_is_not_repeated(run, efface):
    change_results(run, lambda results: {**results, "audit": audit_results().model_dump(mode="json")})
    ran = efface("reproduce", str(run), "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["numbers"]["different"] == []


def test_damaged_numbers_are_refused_before_anything_runs(run, tmp_path, refused):
    change_results(run, lambda results: {"definition": results["definition"]})
    assert_names(refused("reproduce", str(run), "--out", str(tmp_path / "again")), "results.json", "damaged")
    assert not (tmp_path / "again").exists()


def test_the_manifest_of_a_run_answers_reviews(run, source):
    manifest = Manifest.model_validate_json((run / "manifest.json").read_bytes())
    assert manifest.splits == {"forget": 3, "retain": 3, "evaluation/forget": 3, "evaluation/retain": 3}
    assert manifest.method_pages == ["docs/methods/me.md", "docs/methods/gd.md"]
    assert manifest.parameters == AutoModelForCausalLM.from_pretrained(source).num_parameters()
    assert manifest.hardware is not None


def test_a_run_without_scores_compares_weights(place, tmp_path):
    found = reproduce(place / "unlearned", tmp_path / "again", data_dir=None, reporter=SilentReporter())
    assert found.is_same
    assert found.same_files == ("model/model.safetensors",)
    assert not (tmp_path / "again" / "results.json").exists()


def test_other_versions_are_a_warning(run, tmp_path):
    manifest = Manifest.model_validate_json((run / "manifest.json").read_bytes())
    change_manifest(run, versions={**manifest.versions, "torch": "2.0.0"})
    told = Told()
    found = reproduce(run, tmp_path / "again", data_dir=None, reporter=told)
    assert found.is_same
    assert [each.recorded for each in found.checks if not each.is_same] == ["2.0.0"]
    [warning] = [text for text in told.warnings if "2.0.0" in text]
    assert_names(warning, "torch", "2.0.0", manifest.versions["torch"])


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"data": {"forget.csv": "0" * 64}}, ["forget.csv", "retain.csv", "manifest.json"]),
        ({"model_sha256": "0" * 64}, ["model", "manifest.json"]),
        ({"config_sha256": "0" * 64}, ["config.yaml", "manifest.json"]),
        ({"tasks": {"mine.yaml": "0" * 64}}, ["mine.yaml"]),
    ],
)
def test_without_the_same_data_model_and_settings_nothing_runs(run, tmp_path, refused, values, parts):
    change_manifest(run, **values)
    assert_names(refused("reproduce", str(run), "--out", str(tmp_path / "again")), str(run), *parts)
    assert not (tmp_path / "again").exists()


def test_plug_ins_need_to_be_allowed(run, tmp_path, refused, efface):
    plugin, ran = tmp_path / "mine.py", tmp_path / "ran"
    plugin.write_text(PLUGIN.format(ran=str(ran)))
    config = {**yaml.safe_load((run / "config.yaml").read_text()), "plugins": [f"{plugin}:Length"]}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert_names(refused("reproduce", str(run)), "--allow-plugins", str(plugin))
    assert not ran.exists()
    assert_names(refused("reproduce", str(run), "--allow-plugins"), "config.yaml", f"plug-in {plugin}:Length")
    assert ran.exists()


def as_sweep(run):
    (run / "runs").mkdir()


def as_queue(run):
    (run / "requests" / "01").mkdir(parents=True)


def as_evaluation(run):
    (run / "scores.json").write_text("{}")


def as_search(run):
    (run / "search").mkdir()
    (run / "search" / "tune.json").write_text("{}")


def as_purged_search(run):
    (run / "best.yaml").write_text((run / "config.yaml").read_text())


def as_finetuned(run):
    (run / "config.yaml").write_text("model: mine\n")


def as_unfinished(run):
    (run / "results.json").unlink()


def as_unlearned_and_purged(run):
    shutil.rmtree(run / "records")
    (run / "results.json").unlink()
    change_manifest(run, files={})


def as_nothing(run):
    (run / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (as_sweep, "a sweep"),
        (as_queue, "queue"),
        (as_evaluation, "evaluation"),
        (as_search, "best.yaml"),
        (as_purged_search, "best.yaml"),
        (as_finetuned, "fine-tuned"),
        (as_unfinished, "--resume"),
        (as_unlearned_and_purged, "neither results"),
        (as_nothing, "manifest.json"),
    ],
)
def test_only_finished_runs(run, tmp_path, change, part):
    change(run)
    with pytest.raises(EffaceError) as raised:
        reproduce(run, tmp_path / "again", data_dir=None, reporter=SilentReporter())
    assert_names(str(raised.value), str(run), part)
    assert not (tmp_path / "again").exists()
