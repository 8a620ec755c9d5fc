"""Results of batches survive a kill; what is incomplete, damaged or of another origin is made again."""

from __future__ import annotations

import json
from itertools import count

import pytest

from efface import distributed
from efface.errors import EffaceError
from efface.evaluation import generate as generation
from efface.evaluation.generate import generate_from_ids
from efface.evaluation.journal import Journal
from efface.packing import logprobs
from efface.packing.forward import cross_entropy_logprobs
from efface.packing.logprobs import answer_logprobs, answer_numbers
from efface.text.formatter import TokenizedSequence
from support.messages import assert_names

MADE_BY = {"model": "a"}


def test_results_come_back(tmp_path):
    folder = tmp_path / "evaluating" / "before"
    journal = Journal(folder, MADE_BY)
    assert journal.known("logprobs") == {}
    assert not folder.exists()
    journal.add("logprobs", {"x": [-0.1, float("nan")]})
    journal.add("outputs", {"é": [1, 2]})
    again = Journal(folder, MADE_BY)
    assert json.dumps(again.known("logprobs")) == '{"x": [-0.1, NaN]}'
    assert again.known("outputs") == {"é": [1, 2]}
    again.add("outputs", {"y": [3]})
    assert Journal(folder, MADE_BY).known("outputs") == {"é": [1, 2], "y": [3]}
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_of_another_origin_nothing_is_known_and_the_file_is_replaced(tmp_path):
    Journal(tmp_path, MADE_BY).add("outputs", {"x": [1]})
    other = Journal(tmp_path, {"model": "b"})
    assert other.known("outputs") == {}
    other.add("outputs", {"x": [2]})
    assert Journal(tmp_path, MADE_BY).known("outputs") == {}
    assert Journal(tmp_path, {"model": "b"}).known("outputs") == {"x": [2]}


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-5], lambda text: text.replace("[2]", "[9]"), lambda text: text + "x"]
)
def test_an_incomplete_or_damaged_line_is_made_again(tmp_path, damage):
    journal = Journal(tmp_path, MADE_BY)
    journal.add("outputs", {"x": [1]})
    journal.add("outputs", {"y": [2]})
    [file] = tmp_path.iterdir()
    file.write_text(damage(file.read_text()))
    again = Journal(tmp_path, MADE_BY)
    expected = {"x": [1], "y": [2]} if file.read_text().endswith("x") else {"x": [1]}
    assert again.known("outputs") == expected
    again.add("outputs", {"z": [3]})
    assert Journal(tmp_path, MADE_BY).known("outputs") == {**expected, "z": [3]}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x\n", b"[]\n" * 3])
def test_a_foreign_file_is_ignored(tmp_path, content):
    (tmp_path / "00000.jsonl").write_bytes(content)
    journal = Journal(tmp_path, MADE_BY)
    journal.add("outputs", {"x": [1]})
    assert Journal(tmp_path, MADE_BY).known("outputs") == {"x": [1]}


def test_each_process_writes_a_file_and_reads_all(tmp_path, monkeypatch):
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "_group", distributed._Group(rank, 2))
        Journal(tmp_path, MADE_BY).add("outputs", {str(rank): [rank]})
    assert Journal(tmp_path, MADE_BY).known("outputs") == {"0": [0], "1": [1]}


def test_a_full_disk(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError) as raised:
        Journal(tmp_path / "file", MADE_BY).add("outputs", {"x": [1]})
    assert_names(str(raised.value), str(tmp_path / "file" / "00000.jsonl"), "free some space", "--resume")


# Batches


class Killed(BaseException):
    """As a kill would end the process."""


def killed_in_batch(number, process):
    """The function `process` of batches, which is killed in the call of this number."""
    calls, numbers = [], count(1)

    def wrapped(*arguments, **options):
        calls.append(arguments)
        if next(numbers) == number:
            raise Killed
        return process(*arguments, **options)

    return wrapped, calls


def test_of_likelihoods_at_most_one_batch_is_made_again(tmp_path, model, monkeypatch):
    sequences = [TokenizedSequence(str(n), [n + 1, 2, 3], list(range(1, n + 2))) for n in range(6)]
    whole = answer_logprobs(model, sequences, max_tokens_per_forward=12)

    def compute():
        journal = Journal(tmp_path, MADE_BY)
        return answer_numbers(
            model,
            sequences,
            cross_entropy_logprobs,
            max_tokens_per_forward=12,
            known=journal.known("logprobs"),
            on_batch=lambda made: journal.add("logprobs", made),
        )

    all_batches, calls = killed_in_batch(0, logprobs.hidden_states)
    monkeypatch.setattr(logprobs, "hidden_states", all_batches)
    answer_logprobs(model, sequences, max_tokens_per_forward=12)
    total = len(calls)
    assert total > 2
    killed, calls = killed_in_batch(total, logprobs.hidden_states)
    monkeypatch.setattr(logprobs, "hidden_states", killed)
    with pytest.raises(Killed):
        compute()
    del calls[:]
    assert compute() == whole
    assert len(calls) == 1


def test_of_outputs_at_most_one_batch_is_made_again(tmp_path, model, formatter, monkeypatch):
    prompts = [[1, 2, 3][: n % 3 + 1] for n in range(6)]
    settings = {"max_new_tokens": 3, "max_cache_tokens": 12}
    whole = generate_from_ids(model, formatter, prompts, **settings)
    decoder = generation._decoder(model, "efface", padded=True, cache_tokens=12)
    killed, calls = killed_in_batch(2, decoder)
    monkeypatch.setattr(generation, "_decoder", lambda *_, **__: killed)
    with pytest.raises(Killed):
        generate_from_ids(model, formatter, prompts, **settings, journal=Journal(tmp_path, MADE_BY))
    del calls[:]
    again = generate_from_ids(model, formatter, prompts, **settings, journal=Journal(tmp_path, MADE_BY))
    assert again == whole
    del calls[:]
    seen = []
    known = generate_from_ids(
        model, formatter, prompts, **settings, journal=Journal(tmp_path, MADE_BY), progress=seen.append
    )
    assert (known, calls, seen) == (whole, [], [6])
