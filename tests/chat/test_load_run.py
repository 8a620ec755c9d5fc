from __future__ import annotations

import json
import shutil

import pytest
import yaml

from efface.chat.load_run import load_unlearned_run
from efface.errors import EffaceError


def change(folder, **settings):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))


def queue_of(run_folder, tmp_path, models):
    """A queue of three requests, of which those in `models` saved a model."""
    queue = tmp_path / "queue"
    shutil.copytree(run_folder, queue)
    shutil.rmtree(queue / "model")
    change(queue, continual={"requests": [1, 2, 3]})
    for number in range(1, 4):
        request = queue / "requests" / f"{number:02d}"
        shutil.copytree(run_folder, request)
        data = {"source": "synthetic-authors", "authors": 5, "forget_authors": 1, "task": number}
        change(request, data=data, model="the previous one")
        if number not in models:
            shutil.rmtree(request / "model")
    return queue


def test_a_run(run_folder):
    run = load_unlearned_run(run_folder)
    assert run.after_model == run_folder / "model"
    assert run.settings.method == "me+gd"
    assert run.settings.text.format == "plain"
    assert run.settings.evaluate.max_new_tokens == 5
    assert run.before_sha256 == json.loads((run_folder / "manifest.json").read_text())["model_sha256"]
    assert run.before_records == run_folder / "records" / "before"
    assert run.request is None


def test_a_run_of_an_earlier_version(run_folder):
    data = {"source": "generated", "authors": 3, "forget_authors": 1, "after": [], "padding": None}
    change(run_folder, evaluate={"new_tokens": 7, "keep": "last"}, data=data)
    run = load_unlearned_run(run_folder)
    assert run.settings.evaluate.max_new_tokens == 7
    assert run.settings.data.source == "synthetic-authors"


def test_a_queue_has_its_last_model_and_the_first(run_folder, tmp_path):
    queue = queue_of(run_folder, tmp_path, {1, 2})
    run = load_unlearned_run(queue)
    assert (run.request, run.after_model) == (2, queue / "requests" / "02" / "model")
    assert run.before_records == queue / "requests" / "02" / "records" / "before"
    assert run.settings.data.task == 2
    assert run.settings.model == load_unlearned_run(run_folder).settings.model


def test_code_that_a_config_names_is_not_run(run_folder, tmp_path):
    (tmp_path / "custom.py").write_text("raise RuntimeError('this ran')\n")
    change(run_folder, plugins=[f"{tmp_path / 'custom.py'}:Custom"], method="custom+gd")
    assert load_unlearned_run(run_folder).settings.method == "custom+gd"


def missing_folder(folder, _):
    shutil.rmtree(folder)


def missing_model(folder, _):
    shutil.rmtree(folder / "model")


def missing_manifest(folder, _):
    (folder / "manifest.json").unlink()


def a_queue_without_models(folder, tmp_path):
    queue = queue_of(folder, tmp_path, set())
    shutil.rmtree(folder)
    queue.rename(folder)


def file(name, text):
    def write(folder, _):
        (folder / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (missing_folder, ["has no config.yaml", "--out"]),
        (missing_model, ["run in", "no unlearned model", "--resume"]),
        (a_queue_without_models, ["queue in", "no unlearned model", "--resume"]),
        (missing_manifest, ["no manifest.json", "copy"]),
        (file("config.yaml", "model: x\n"), ["config.yaml has no method", "efface run"]),
        (file("config.yaml", "method: ["), ["config.yaml", "not valid YAML"]),
        (file("config.yaml", "method: me+gd\nmodel: x\ndata: 7\n"), ["config.yaml is damaged: data"]),
        (file("manifest.json", "{"), ["manifest.json is damaged"]),
    ],
)
def test_refused_folders(run_folder, tmp_path, change, named):
    change(run_folder, tmp_path)
    with pytest.raises(EffaceError) as error:
        load_unlearned_run(run_folder)
    for each in [str(run_folder), *named]:
        assert each in str(error.value)
