"""Queues that are refused before anything is trained or written."""

from __future__ import annotations

import shutil

from efface.continual.queue import append_request, run_queue
from efface.preflight.dry_run import plan_queue
from support.queues import facts, write
from support.runs import Told


def test_the_message_names_the_request_that_cannot_be_unlearned(config, files, refused, tmp_path):
    again = shutil.copy(tmp_path / "gone0.jsonl", tmp_path / "again.jsonl")
    rest, missing = write(tmp_path / "rest.jsonl", facts(*range(8, 12))), tmp_path / "missing.jsonl"
    for queue, parts in (
        (config(continual=None), ["there are no requests", "set continual.requests"]),
        (
            config(continual={"requests": [1, 2, 3, 4]}),
            ["request 4 (task 4): synthetic-authors-1-of-4-task4: ", "nothing is left in the retain set"],
        ),
        (files(rest), [f"request 3 ({rest}): ", "keep.jsonl", "nothing is left in the retain set"]),
        (files(again), [f"request 3 ({again}): {again}: ", "earlier requests", "remove this request"]),
        (files(str(missing)), [f"request 3 ({missing}): ", "missing.jsonl"]),
    ):
        message = refused(queue)
        assert message.startswith(parts[0])
        assert all(part in message for part in parts[1:])


def test_data_that_changed_since(files, refused, tmp_path):
    out = tmp_path / "all"
    run_queue(files(), out)
    write(tmp_path / "gone0.jsonl", facts(0, 1, 2))
    message = refused(files(write(tmp_path / "more.jsonl", facts(8))), resume=True)
    assert message.startswith("--resume: ")
    assert message.endswith("gone0.jsonl has changed since the run started; start over in another --out")


def test_the_previous_model_is_missing(config, refused, tmp_path):
    out = tmp_path / "all"
    run_queue(config(continual={"requests": [1, 2]}), out)
    shutil.rmtree(out / "requests" / "02" / "model")
    message = refused(append_request(out, 3), resume=True)
    assert "requests/02/model is missing, and request 3 of 3 (task 3) starts from it" in message


def test_a_request_that_was_started_in_a_folder_since_moved(config, refused, tmp_path, monkeypatch):
    two = config(continual={"requests": [1, 2]})
    run_queue(two, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "requests" / "02" / "results.json").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "all")
    message = refused(two, resume=True)
    assert message.startswith("request 2 of 2 (task 2) was started with the queue in another folder")


def test_a_dry_run_counts_the_models_on_disk_at_once(config, tmp_path):
    """Two while the next one is made, or all; it writes nothing."""
    last, every = (
        plan_queue(
            config(continual={"keep_models": keep}), tmp_path / "all", data_dir=None, resume=False, reporter=Told()
        )
        for keep in ("last", "all")
    )
    assert every.bytes_written - last.bytes_written == 4 * last.parameters
    assert last.scored == {"forget": 3, "forgotten-1": 3, "forgotten-2": 3, "retain": 1}
    assert last.notes[0].startswith("3 requests, 0 of them done, 12 optimizer steps in total")
    assert not (tmp_path / "all").exists()
