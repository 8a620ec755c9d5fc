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
    """A queue of three requests, of which some left a model."""
    queue = tmp_path / "queue"
    shutil.copytree(run_folder, queue)
    shutil.rmtree(queue / "model")
    change(queue, continual={"requests": [1, 2, 3]})
    for number in range(1, 4):
        request = queue / "requests" / f"{number:02d}"
        shutil.copytree(run_folder, request)
        data = {"source": "synthetic-authors", "authors": 5, "forget_authors": 1, "task": number}
        change(request, data=data, model="the one before")
        if number not in models:
            shutil.rmtree(request / "model")
    return queue


def test_a_run(run_folder):
    run = load_unlearned_run(run_folder)
    assert run.after == run_folder / "model"
    assert run.settings.method == "me+gd"
    assert run.settings.text.format == "plain"
    assert run.settings.evaluate.max_new_tokens == 5
    assert run.sha256 == json.loads((run_folder / "manifest.json").read_text())["model_sha256"]
    assert run.request is None


def test_a_queue_is_asked_by_its_last_model_and_the_first(run_folder, tmp_path):
    queue = queue_of(run_folder, tmp_path, {1, 2})
    run = load_unlearned_run(queue)
    assert (run.request, run.after) == (2, queue / "requests" / "02" / "model")
    assert run.records == queue / "requests" / "02" / "records" / "before"
    assert run.settings.data.task == 2
    assert run.settings.model == load_unlearned_run(run_folder).settings.model
    with pytest.raises(EffaceError, match=r"queue in .* has no unlearned model yet"):
        load_unlearned_run(queue_of(run_folder, tmp_path / "another", set()))


def test_what_holds_no_two_models(run_folder, tmp_path):
    with pytest.raises(EffaceError, match=r"nowhere holds no run \(no config.yaml\)"):
        load_unlearned_run(tmp_path / "nowhere")
    shutil.rmtree(run_folder / "model")
    with pytest.raises(EffaceError, match="has no unlearned model yet; go on with it by --resume"):
        load_unlearned_run(run_folder)
    (run_folder / "config.yaml").write_text("model: x\n")
    with pytest.raises(EffaceError, match="holds no unlearning"):
        load_unlearned_run(run_folder)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("config.yaml", "method: [", "not YAML"),
        ("config.yaml", "method: me+gd\nmodel: x\ndata: 7\n", "config.yaml is damaged: data"),
        ("manifest.json", "{", "manifest.json is damaged"),
    ],
)
def test_damaged(run_folder, file, content, sentence):
    (run_folder / file).write_text(content)
    with pytest.raises(EffaceError, match=sentence):
        load_unlearned_run(run_folder)


def test_a_run_without_a_manifest(run_folder):
    (run_folder / "manifest.json").unlink()
    with pytest.raises(EffaceError, match="has no manifest"):
        load_unlearned_run(run_folder)


def test_code_that_a_config_names_is_not_run(run_folder, tmp_path):
    (tmp_path / "own.py").write_text("raise RuntimeError('this ran')\n")
    change(run_folder, plugins=[f"{tmp_path / 'own.py'}:Mine"], method="mine+gd")
    assert load_unlearned_run(run_folder).settings.method == "mine+gd"
