from __future__ import annotations

from typing import Any

import pytest

from efface.auditing.attack import ModelName, Unit
from efface.auditing.attacks.lens import Lens, fact_target, key_fact_tokens, lost_share, mean_lost_share
from support.audit_models import context, facts, knowing, load, not_knowing, run_on_all, subject


def scalars(after: Any, control: Any = None, before: Any = None) -> dict[str, float | None]:
    subjects = {"before": subject(before or knowing(), "before")}
    if control is not None:
        subjects["control"] = subject(control, "control")
    return Lens().scalars(run_on_all(Lens(), {**subjects, "after": subject(after)}))  # type: ignore[dict-item]


def test_the_model_before_has_lost_nothing_and_the_control_everything() -> None:
    control = not_knowing()
    unchanged, as_control = scalars(knowing(), control), scalars(not_knowing(), control)
    assert [unchanged["lens_score"], unchanged["depth_score"]] == pytest.approx([0, 0], abs=1e-5)
    assert [as_control["lens_score"], as_control["depth_score"]] == pytest.approx([1, 1], abs=1e-5)
    assert unchanged["lens_score_from_chance"] == 0
    assert (unchanged["logprob_layer_01_before"] or -9) > -0.1
    assert (unchanged["drop_layer_01_control"] or 0) > 1


def test_between_the_two_it_is_between() -> None:
    half = knowing()
    for own, other in zip(half.parameters(), not_knowing().parameters(), strict=True):
        own.data.lerp_(other.data, 0.6)
    found = scalars(half, not_knowing())
    assert 0 < (found["lens_score"] or 0) < 1
    assert 0 < (found["depth_score"] or 0) < 1


def test_without_a_control_another_fact_is_the_chance() -> None:
    found = scalars(knowing())
    assert found["lens_score"] == pytest.approx(0, abs=1e-5)
    assert found["lens_score_from_chance"] == 1
    assert "depth_score" not in found
    assert (scalars(not_knowing())["lens_score"] or 0) > 0.8


def test_where_nothing_was_known_it_is_not_defined() -> None:
    found = scalars(load(), load(), load())
    assert found["lens_score"] is None
    assert found["depth_score"] is None


@pytest.mark.parametrize(
    ("d1", "d2", "share"),
    [
        ([1.0, 3.0], [0.0, 0.0], 0.0),
        ([1.0, 3.0], [1.0, 3.0], 1.0),
        ([1.0, 3.0], [2.0, -2.0], 0.25),
        ([1.0, 0.05], [0.5, 9.0], 0.5),
        ([0.05, -1.0], [1.0, 1.0], None),
    ],
)
def test_the_lost_share_by_its_formula(d1: list[float], d2: list[float], share: float | None) -> None:
    assert lost_share(d1, d2) == share


def test_the_mean_is_over_facts_where_it_is_defined() -> None:
    assert (
        mean_lost_share({"a": [1.0], "b": [1.0], "c": [0.0]}, {"a": [1.0], "b": [0.5], "c": [1.0], "d": [1.0]}) == 0.75
    )
    assert mean_lost_share({"a": [0.0]}, {"a": [1.0]}) is None


def test_the_key_fact_is_found_among_the_tokens() -> None:
    attacked = subject(load())
    for fact in facts():
        target = fact_target(attacked, fact)
        assert attacked.tokenizer.decode(target.tokens).strip(" .") == fact.key_fact
    [fact] = facts(1, key_fact=None)
    whole = fact_target(attacked, fact)
    assert attacked.tokenizer.decode(whole.tokens).strip() == fact.answer
    ids = attacked.tokenizer(" Tower A is in Turku.").input_ids
    assert key_fact_tokens(attacked.tokenizer, ids, "Oslo") == (0, len(ids))
    assert key_fact_tokens(attacked.tokenizer, ids, "TURKU") == key_fact_tokens(attacked.tokenizer, ids, "Turku")


def test_numbers_do_not_depend_on_other_facts() -> None:
    model, asked = not_knowing(), facts()
    models: dict[ModelName, Any] = {
        "before": subject(knowing(), "before"),
        "control": subject(not_knowing(), "control"),
    }
    around = context(asked, models)
    for unit in (Unit("lens"), Unit("patch")):
        together = Lens().run(subject(model), asked, unit, around)
        alone = [row for fact in asked for row in Lens().run(subject(model), [fact], unit, around)]
        assert [row.numbers for row in together] == [row.numbers for row in alone]


def test_it_is_no_part_of_quick() -> None:
    assert Lens().units("quick") == []
    assert not Lens.in_union
