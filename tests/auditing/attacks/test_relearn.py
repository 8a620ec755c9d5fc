from __future__ import annotations

from efface.auditing.attacks.relearn import COUNTED_STEPS, Relearn, _parts, _rows
from efface.auditing.attacks.relearn_rows import training_of
from support.audited import audit_context, facts


def test_levels_add_arms_rates_and_seeds() -> None:
    quick, standard, full = (Relearn().units(level) for level in ("quick", "standard", "full"))
    assert [unit.variant for unit in quick] == ["some/x1/fold0", "some/x1/fold1", "some/x1/fold2", "near/x1"]
    assert {_parts(unit)[0] for unit in standard} == {"some", "near", "form", "few"}
    assert {_parts(unit)[0] for unit in full} == {"some", "near", "form", "few", "far"}
    assert {_parts(unit)[1] for unit in full} == {0.25, 1.0, 4.0}
    assert {unit.seed for unit in full} == {0, 1, 2}
    assert len(set(full)) == len(full)


def test_a_fact_counts_if_any_look_has_it_within_the_steps_that_count() -> None:
    audited = facts(6)
    around = audit_context(audited)  # at the level full: looks at 1, 2, 4, 8, 16, 32 and 64 steps
    [unit] = [each for each in Relearn().units("full") if each.variant == "near/x1" and each.seed == 0]
    training = training_of("near", 0, audited, around)
    outputs = [["nothing"] * 6 for _ in range(7)]
    outputs[3][0] = "Turku"
    outputs[6][1] = "Bergen"
    rows = _rows(unit, around, training, outputs)
    assert [row.hit for row in rows] == [True, False, False, False, False, False]
    assert rows[0].output == "Turku"
    assert rows[0].numbers["step 8"] == 1.0
    assert rows[1].numbers["step 64"] == 1.0
    assert len(rows[1].outputs) == 6
    assert COUNTED_STEPS == 32


def test_a_fact_that_the_training_rows_contain_is_an_echo() -> None:
    audited = facts(6)
    around = audit_context(audited)
    [unit] = [each for each in Relearn().units("full") if each.variant == "some/x1/fold0" and each.seed == 0]
    training = training_of("some", 0, audited, around)
    same = [
        item.model_copy(update={"answer": f"{item.answer} Not {training.asked[0].key_fact}."}) for item in training.rows
    ]
    telling = type(training)(tuple(same), training.asked)
    rows = _rows(unit, around, telling, [[each.answer for each in training.asked]] * 7)
    assert (rows[0].hit, rows[0].echo) == (None, True)
    assert all(row.hit for row in rows[1:])


def test_the_curve_is_of_the_runs_own_rate() -> None:
    audited = facts(6)
    around = audit_context(audited)
    units = [each for each in Relearn().units("full") if each.variant in ("near/x1", "near/x4") and each.seed == 0]
    training = training_of("near", 0, audited, around)
    rows = []
    for unit in units:
        text = "Turku" if unit.variant == "near/x1" else "Turku Bergen Lyon"
        rows += _rows(unit, around, training, [[text] * 6] * 7)
    assert Relearn().scalars({"after": rows})["after near step 1"] == 1 / 6
