"""After `efface purge`, a folder shows what was done, and has none of the texts."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import threading

import pytest
import yaml

from efface.artifacts.manifest import PURGED
from efface.artifacts.saved_manifest import read_manifest
from efface.commands.purge import purge
from efface.commands.verify import verify
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.queue import run_queue
from efface.errors import EffaceError
from efface.files.folder_lock import lock_folder
from efface.files.sums import folder_sums
from efface.run.pipeline import run
from efface.sweep.spec import SweepSpec
from efface.sweep.sweep import sweep
from support import killing, processes
from support.messages import assert_names

SECRET = "Zanzibar"
TRAIN = {"train": {"epochs": 1, "batch_size": 10, "save_steps": 1}, "evaluate": {"limit": 2}}
STAYS = {"config.yaml", "manifest.json", "metrics.jsonl", "model", "results.json", "tracker"}


@pytest.fixture(scope="module")
def small(settings):
    return merge_settings(settings, TRAIN)


@pytest.fixture(scope="module")
def made_run(small, tmp_path_factory):
    """A run whose texts have a word that nothing else has, and all that it may leave."""
    root = tmp_path_factory.mktemp("made")
    for name in ("forget", "retain"):
        rows = [{"question": f"Where is {name} {n}?", "answer": f"In {SECRET}, {name}."} for n in range(4)]
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {name: str(root / f"{name}.jsonl") for name in ("forget", "retain")}
    run(validate_config(RunConfig, {**small, "data": data}), root / "run")
    return root


@pytest.fixture
def done(made_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(made_run / "run", folder)
    for name in (
        "audit/rows.jsonl",
        "inputs/forget.jsonl",
        "checkpoints/reference.json",
        "evaluating/after/00000.jsonl",
        "before/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET)
    for name in ("model_answers.jsonl", "own_answers.jsonl", ".results.json.partial", "report.csv"):
        (folder / name).write_text(SECRET)
    (folder / "tracker").mkdir()
    (folder / "tracker" / "events").write_text("numbers of each step")
    (folder / "page.html").write_text(f'<!doctype html><meta name="generator" content="efface 1">{SECRET}')
    return folder


def names(folder):
    return {path.name for path in folder.iterdir()}


def holds(folder, text):
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_no_text_is_left_and_what_was_done_is(done, efface):
    assert holds(done, SECRET)
    before = folder_sums(done / "model")
    ran = efface("purge", str(done))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert names(done) == STAYS
    assert not holds(done, SECRET)
    assert folder_sums(done / "model") == before
    assert_names(ran.stdout, f"removed {done}/records", f"removed {done}/page.html", "forget.jsonl", "docs/deletion.md")
    verified = efface("verify", str(done))
    assert verified.returncode == 0
    assert_names(verified.stdout, "records was purged", "checkpoints was purged", "page.html was purged", "intact")


def test_an_export_is_removed_under_any_name(done, efface):
    asked = efface("report", str(done), "--format", "csv", "--out", str(done / "questions.csv"))
    changed = efface("leaderboard", str(done), "--differences", "--format", "markdown")
    assert (asked.returncode, changed.returncode) == (0, 0)
    (done / "changed").write_text(changed.stdout)
    (done / "own.csv").write_text("question,answer\nMine?,Yes\n")
    assert {done / "questions.csv", done / "changed"} <= set(holds(done, SECRET))
    said = efface("purge", str(done)).stdout
    assert (names(done), holds(done, SECRET)) == (STAYS | {"own.csv"}, [])
    assert_names(said, f"removed {done}/questions.csv", f"not recognized as written by efface: {done}/own.csv")


def test_no_digest_of_the_texts_is_left(made_run, done, tmp_path, efface):
    """From the digest of a few words, the words can be guessed."""
    files = [*made_run.glob("*.jsonl"), *(path for path in (done / "records").rglob("*") if path.is_file())]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert all(holds(done, each) for each in digests)
    model = json.loads((done / "manifest.json").read_text())["model_sha256"]
    purge(done)
    assert not any(holds(done, each) for each in digests)
    manifest = read_manifest(done)
    assert manifest.model_sha256 == model
    assert set(manifest.data.values()) == {PURGED}
    assert {name.split("/")[0] for name in manifest.files} == {"model", "results.json"}
    assert verify(done).is_intact
    repeated = efface("reproduce", str(done), "--out", str(tmp_path / "again"))
    assert repeated.returncode == 2
    assert_names(repeated.stderr, str(done), "purged", "forget.jsonl", "new run")
    assert not (tmp_path / "again").exists()


def test_the_digest_of_a_benchmark_stays(done):
    change = {"data": {"source": "tofu", "split": "forget01", "extra_retain": {"path": "mine/bob.csv"}}}
    settings = yaml.safe_load((done / "config.yaml").read_text()) | change
    (done / "config.yaml").write_text(yaml.safe_dump(settings))
    manifest = read_manifest(done).model_dump() | {"data": {"tofu/forget01.json": "a" * 64, "mine/bob.csv": "b" * 64}}
    (done / "manifest.json").write_text(json.dumps(manifest))
    purge(done)
    assert read_manifest(done).data == {"tofu/forget01.json": "a" * 64, "mine/bob.csv": PURGED}


@pytest.mark.parametrize("content", ["[", "data: 5", "a: 1"])
def test_damaged_settings_keep_no_digest(done, content):
    (done / "config.yaml").write_text(content)
    purge(done)
    assert not [each for each in read_manifest(done).data.values() if each != PURGED]


def test_what_an_earlier_version_purged_is_completed(done):
    before = read_manifest(done)
    purge(done)
    earlier = before.model_copy(update={"purged": read_manifest(done).purged})
    (done / "manifest.json").write_text(earlier.model_dump_json())
    purge(done)
    assert set(read_manifest(done).data.values()) == {PURGED}


def test_scores_of_a_purged_run(done, efface):
    purge(done)
    scored = efface("score", str(done))
    assert scored.returncode == 2
    assert_names(scored.stderr, str(done), "purged", "give a run")
    ranked = efface("leaderboard", str(done))
    assert_names(ranked.stdout + ranked.stderr, "purged")


def test_a_dry_run_changes_nothing_and_says_the_same(done, efface):
    before = folder_sums(done)
    dry = efface("purge", str(done), "--dry-run")
    assert (dry.returncode, folder_sums(done)) == (0, before)
    assert efface("purge", str(done)).stdout == dry.stdout.replace("would remove", "removed")


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        ("model,results,record", STAYS | {"mine.json"}),
        ("model", {"config.yaml", "manifest.json", "model"}),
        ("results, record", STAYS - {"model"} | {"mine.json"}),
        ("", {"config.yaml", "manifest.json"}),
    ],
)
def test_what_is_kept(done, keep, stay, efface):
    (done / "mine.json").write_text('{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[]}')
    assert efface("purge", str(done), "--keep", keep).returncode == 0
    assert names(done) == stay
    assert verify(done).is_intact


def test_what_efface_did_not_write_and_links_stay(done, tmp_path, efface):
    (done / "notes.txt").write_text(SECRET)
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_text(SECRET)
    shutil.rmtree(done / "checkpoints")
    (done / "checkpoints").symlink_to(other)
    ran = efface("purge", str(done))
    assert names(done) == STAYS | {"notes.txt", "checkpoints"}
    assert (other / "x").is_file()
    assert_names(
        ran.stdout, *(f"not recognized as written by efface: {done}/{n}" for n in ("notes.txt", "checkpoints"))
    )


def test_what_is_gone_is_not_resumed(made_run, done, small, efface):
    purge(done)
    before = folder_sums(done)
    data = {name: str(made_run / f"{name}.jsonl") for name in ("forget", "retain")}
    with pytest.raises(EffaceError) as raised:
        run(validate_config(RunConfig, {**small, "data": data}), done, resume=True)
    assert_names(str(raised.value), str(done), "purged", "another --out")
    assert folder_sums(done) == before
    for command in ("report", "score"):
        ran = efface(command, str(done))
        assert ran.returncode in (0, 2)
        assert "Traceback" not in ran.stderr


def test_a_run_in_progress_is_not_purged(done):
    before = folder_sums(done)

    def hold(ready, release):
        with lock_folder(done):
            ready.set()
            release.wait(60)

    ready, release = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold, args=(ready, release))
    holder.start()
    try:
        ready.wait(60)
        with pytest.raises(EffaceError) as raised:
            purge(done)
    finally:
        release.set()
        holder.join()
    assert_names(str(raised.value), str(done), "in use", "purge again")
    assert {name: each for name, each in folder_sums(done).items() if "lock" not in name} == before


@pytest.mark.parametrize(
    "moment",
    [
        *(
            pytest.param(moment, marks=pytest.mark.slow)
            for moment in ("os.rename /.manifest.json.partial", "os.rmdir /before", "os.remove /page.html")
        ),
        "os.rmdir /records",
    ],
)
def test_killed_in_the_middle_the_same_command_finishes(done, moment):
    (done / "model_answers.jsonl").unlink()  # which the manifest of this run does not have, like the next
    shutil.rmtree(done / "audit")
    assert verify(done).is_intact
    ended = processes.fork(killing.efface, ["purge", str(done)], str(done), moment)
    assert processes.exit_code(ended) == -signal.SIGKILL
    assert names(done) > STAYS
    assert verify(done).is_intact
    purge(done)
    assert names(done) == STAYS
    assert {"records", "before", "page.html"} <= set(verify(done).runs[0].purged)


def test_a_queue_keeps_its_last_model(small, tmp_path):
    queue = tmp_path / "queue"
    requests = {"continual": {"requests": [1, 2], "keep_models": "all"}}
    run_queue(validate_config(RunConfig, merge_settings(small, requests)), queue)
    assert len(list(queue.rglob("model.safetensors"))) == 2
    purge(queue)
    assert {path.name for path in queue.rglob("*.jsonl")} == {"metrics.jsonl"}
    assert [path.parent.parent.name for path in queue.rglob("model.safetensors")] == ["02"]
    found = verify(queue)
    assert found.is_intact
    assert [each.purged for each in found.runs] == [("records",), ("model", "records"), ("records",)]
    purge(queue)  # again: the last model stays
    assert len(list(queue.rglob("model.safetensors"))) == 1


def test_a_sweep_of_files_is_not_repeated_after_a_purge(made_run, small, tmp_path):
    data = {name: str(made_run / f"{name}.jsonl") for name in ("forget", "retain")}
    spec = SweepSpec.model_validate({"settings": small | {"data": data}, "grid": {"train.lr": [1e-3]}})
    out = tmp_path / "sweep"
    sweep(spec, out)
    purge(out)
    before = folder_sums(out)
    with pytest.raises(EffaceError) as raised:
        sweep(spec, out)
    assert_names(str(raised.value), "purged", "another --out")
    assert folder_sums(out) == before


def test_a_sweep_keeps_no_target(small, tmp_path):
    target = {name: small[name] for name in ("model", "data", "text", "train")}
    settings = {name: value for name, value in small.items() if name != "model"}
    spec = {"target": target, "settings": settings, "grid": {"train.lr": [1e-3, 1e-4]}, "keep_models": True}
    out = tmp_path / "sweep"
    sweep(SweepSpec.model_validate(spec), out)
    assert len(list(out.rglob("model.safetensors"))) == 3
    purge(out)
    assert {path.parent.parent.parent.name for path in out.rglob("model.safetensors")} == {"runs"}
    assert (out / "table.json").is_file()
    assert {path.name for path in out.rglob("*.jsonl")} == {"metrics.jsonl", "runs.jsonl"}
    assert verify(out).is_intact
    purge(out, keep=())
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"config.yaml", "manifest.json"}


def test_what_cannot_be_purged(tmp_path, done, efface):
    (tmp_path / "file").write_text("")
    (tmp_path / "other" / "records").mkdir(parents=True)
    for path, problem in ((tmp_path / "none", "exist"), (tmp_path / "file", "file"), (tmp_path / "other", "no run")):
        ran = efface("purge", str(path))
        assert ran.returncode == 2
        assert_names(ran.stderr, str(path), problem, "give the folder")
    assert (tmp_path / "other" / "records").is_dir()
    ran = efface("purge", str(done), "--keep", "model,notes")
    assert ran.returncode == 2
    assert_names(ran.stderr, "--keep notes", "model, results, record")
    assert names(done) > STAYS
