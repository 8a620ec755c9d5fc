"""Files of a run that are not what it wrote: each command that reads one refuses it and names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from efface.chat.load_run import load_unlearned_run
from efface.chat.session import open_chat
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.progress.reporter import SilentReporter
from efface.run.folder import RunFolder
from efface.run.pipeline import run as run_pipeline
from support.messages import assert_names


class Stopping(SilentReporter):
    """Stops a run after a step, as a kill would."""

    def on_step(self, log):
        if log.step == 5:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def config(settings):
    return validate_config(RunConfig, settings)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    run_pipeline(config, out)
    return out


@pytest.fixture(scope="module")
def stopped(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, out, reporter=Stopping())
    return out


@pytest.fixture
def copy(finished, tmp_path):
    return RunFolder(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def half(stopped, tmp_path):
    return RunFolder(shutil.copytree(stopped, tmp_path / "half"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_an_intact_run_is_read_by_all(copy, efface):
    for command in ("verify", "score", "report", "leaderboard"):
        assert efface(command, str(copy.root)).returncode == 0, command


def edit_record(folder):
    path = folder.records("after") / "forget.jsonl"
    path.write_text(path.read_text().replace('"output":"', '"output":"I do not know. ', 1))
    return path


def edit_results(folder):
    folder.results.write_text(folder.results.read_text().replace("0.", "0.9", 1))
    return folder.results


def add_record(folder):
    return shutil.copy(folder.records("after") / "forget.jsonl", folder.records("after") / "real_authors.jsonl")


def damage_manifest(folder):
    edit_record(folder)
    folder.manifest.write_text("[]")
    return folder.manifest


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("score", damage_manifest),
        ("report", damage_manifest),
        ("leaderboard", damage_manifest),
        ("score", edit_record),
        ("report", edit_record),
        ("leaderboard", edit_record),
        ("verify", edit_record),
        ("report", edit_results),
        ("leaderboard", edit_results),
        ("verify", edit_results),
        ("score", add_record),
        ("report", add_record),
        ("leaderboard", add_record),
        ("verify", add_record),
    ],
)
def test_an_edited_result_or_record_is_named(copy, efface, command, change):
    path = Path(change(copy))
    ran = efface(command, str(copy.root))
    assert ran.returncode == (1 if command == "verify" else 2), ran
    assert_names(ran.stdout + ran.stderr, str(path.relative_to(copy.root)))
    assert not (copy.root / "report.html").exists()


def test_weights_of_another_run_are_refused_by_chat_evaluate_and_resume(copy, config, efface):
    weights = copy.model / "model.safetensors"
    flip(weights)
    refusals = []
    with pytest.raises(EffaceError) as raised:
        open_chat(load_unlearned_run(copy.root), (), before=None, device="cpu", reporter=SilentReporter())
    refusals.append(str(raised.value))
    ran = efface("evaluate", str(copy.config), f"model={copy.model}", "--out", str(copy.root.parent / "scores"))
    assert ran.returncode == 2
    refusals.append(ran.stderr)
    copy.results.unlink()
    with pytest.raises(EffaceError) as raised:
        run_pipeline(config, copy.root, resume=True)
    refusals.append(str(raised.value))
    for refusal in refusals:
        assert_names(refusal, str(weights), "not what the run wrote")
    assert efface("verify", str(copy.root)).returncode == 1


def test_a_model_put_there_before_resume_is_refused(half, finished, config):
    shutil.copytree(finished / "model", half.model)
    with pytest.raises(EffaceError) as raised:
        run_pipeline(config, half.root, resume=True)
    assert_names(str(raised.value), str(half.model), "not written by this run")


def test_a_checkpoint_of_another_run_is_refused(half, config, tmp_path):
    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config.model_copy(update={"seed": 1}), other, reporter=Stopping())
    [checkpoint] = half.checkpoints.glob("step-*")
    shutil.rmtree(checkpoint)
    shutil.copytree(other / checkpoint.relative_to(half.root), checkpoint)
    with pytest.raises(EffaceError) as raised:
        run_pipeline(config, half.root, resume=True)
    assert_names(str(raised.value), str(checkpoint), "not what the run wrote", "remove it")


def test_a_flipped_byte_in_a_checkpoint_is_refused(half, config):
    [checkpoint] = half.checkpoints.glob("step-*")
    flip(checkpoint / "trained.safetensors")
    with pytest.raises(EffaceError) as raised:
        run_pipeline(config, half.root, resume=True)
    assert_names(str(raised.value), str(checkpoint / "trained.safetensors"), "SHA-256", "remove it")


def test_a_checkpoint_beyond_the_last_step_is_refused(half, config):
    [checkpoint] = half.checkpoints.glob("step-*")
    beyond = checkpoint.rename(half.checkpoints / "step-000009")
    with pytest.raises(EffaceError) as raised:
        run_pipeline(config, half.root, resume=True)
    assert_names(str(raised.value), str(beyond), "last step, 8", "remove it")


def test_a_record_of_a_stopped_run_that_was_edited_is_refused_on_resume(half, config):
    path = half.records("before") / "forget.jsonl"
    path.write_text(path.read_text().replace('"output":"', '"output":"x', 1))
    with pytest.raises(EffaceError) as raised:
        run_pipeline(config, half.root, resume=True)
    assert_names(str(raised.value), str(path), "not what the run wrote")


def test_a_run_of_an_earlier_version_still_resumes_and_reports(half, finished, config, efface):
    manifest = json.loads(half.manifest.read_text())
    for key in ("files", "writing", "purged"):
        del manifest[key]
    half.manifest.write_text(json.dumps(manifest))
    for path in half.checkpoints.glob("*/SHA256SUMS"):
        path.unlink()
    run_pipeline(config, half.root, resume=True)
    assert half.results.read_bytes() == (finished / "results.json").read_bytes()
    assert "no sums" in efface("verify", str(half.root)).stdout
    assert efface("report", str(half.root)).returncode == 0


def test_a_queue_drops_models_and_stays_intact(queue_settings, tmp_path, efface):
    from efface.continual.queue import run_queue

    changes = {"continual": {"requests": [1, 2], "keep_models": "last"}, "evaluate": {"limit": 1}}
    run_queue(validate_config(RunConfig, merge_settings(queue_settings, changes)), tmp_path / "queue")
    assert not (tmp_path / "queue" / "requests" / "01" / "model").exists()
    ran = efface("verify", str(tmp_path / "queue"))
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.count("intact") == 3
