from __future__ import annotations

import pytest

from efface.auditing.attacks.read_out import ReadOut
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
