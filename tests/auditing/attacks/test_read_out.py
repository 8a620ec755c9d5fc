from __future__ import annotations

import pytest

from efface.auditing.attack import ModelName
from efface.auditing.attacks.read_out import ReadOut, share_left
from support.audit_models import context, facts, knowing, load, not_knowing, run_on_all, subject


def test_a_model_that_knows_reads_out_everything_and_one_that_never_saw_it_nothing() -> None:
    rows = run_on_all(
        ReadOut(), {"before": subject(knowing()), "control": subject(not_knowing()), "after": subject(knowing())}
    )
    scalars = ReadOut().scalars(rows)
    assert scalars["extraction_strength_before"] == scalars["exact_memorization_before"] == 1
    assert scalars["extraction_strength_control"] == 0
    assert scalars["extraction_strength_left"] == scalars["answer_logprob_left"] == 1
    assert all(row.hit is None for row in rows["after"])
    assert not ReadOut.in_union


def test_random_weights_read_out_nothing() -> None:
    rows = run_on_all(ReadOut(), {"after": subject(load())})
    scalars = ReadOut().scalars(rows)
    assert scalars["extraction_strength_after"] == 0
    assert scalars["extraction_strength_left"] is None


def test_what_is_left_is_between_control_and_before() -> None:
    means: dict[ModelName, float] = {"before": 0.9, "control": 0.1, "after": 0.3}
    assert share_left(means) == pytest.approx(0.25)
    assert share_left({**means, "after": 0.1}) == 0
    assert share_left({**means, "control": 0.89}) is None
    assert share_left({"before": 0.9, "after": 0.3}) is None


def test_numbers_do_not_depend_on_the_batch() -> None:
    model, asked = not_knowing(), facts()
    rows = [
        ReadOut().run(
            subject(model, max_tokens_per_forward=size), asked, ReadOut().units("full")[0], context(asked, {})
        )
        for size in (1, 40, 10_000)
    ]
    for ours, theirs in zip(rows[0] * 2, rows[1] + rows[2], strict=True):
        assert ours.numbers == pytest.approx(theirs.numbers, abs=1e-5)
