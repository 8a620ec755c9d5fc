from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from efface.auditing.attack import Context, Unit
from efface.auditing.attacks.membership import Membership, membership_scores, unseen_answers, unseen_items
from efface.auditing.fact import Fact, Row
from efface.schema import Item
from support.audit_models import context, facts, knowing, load, not_knowing, run_on_all, subject


def test_a_model_that_knows_and_its_control_are_told_apart() -> None:
    before, control = subject(knowing(), "before"), subject(not_knowing(), "control")
    rows = run_on_all(Membership(), {"before": before, "control": control, "after": subject(knowing())})
    scalars = Membership().scalars(rows)
    for score in ("loss", "zlib", "min_k", "min_k_plus_plus", "gradnorm", "reference"):
        assert scalars[f"auc_{score}_after"] == 1
    assert scalars["gap_loss"] == pytest.approx(1 - (scalars["auc_loss_control"] or 0))
    assert (scalars["gap_loss_low"] or 0) > 0
    assert "auc_reference_control" not in scalars
    assert scalars["privleak"] == pytest.approx(-100)
    assert scalars["unseen_are_wrong_answers"] == 1


def synthetic(count: int) -> list[Fact]:
    """Facts of random syllables, which no model knows."""
    syllables = ["ka", "lo", "mi", "ru", "te", "zo", "ni", "pa", "sha", "vel"]
    draw = random.Random(0)

    def word() -> str:
        return "".join(draw.choices(syllables, k=3)).capitalize()

    return [
        Fact(
            Item(id=f"{n:03d}", question=f"Who is {word()}?", answer=f"{word()}.", perturbed_answers=(f"{word()}.",)),
            "name",
        )
        for n in range(count)
    ]


def test_random_weights_cannot_tell() -> None:
    asked = synthetic(150)
    around, attacked, attack = context(asked, {}), subject(load()), Membership()
    rows = [row for unit in attack.units("standard") for row in attack.run(attacked, asked, unit, around)]
    scalars = attack.scalars({"after": rows})
    for score in ("loss", "zlib", "min_k", "min_k_plus_plus"):
        assert scalars[f"auc_{score}_after"] == pytest.approx(0.5, abs=0.1)
    assert "gap_loss" not in scalars
    assert "privleak" not in scalars


def test_numbers_do_not_depend_on_the_batch() -> None:
    model, asked = not_knowing(), facts()
    for variant in ("unseen", "gradnorm-facts"):
        made = [
            Membership().run(subject(model, max_tokens_per_forward=size), asked, Unit(variant), context(asked, {}))
            for size in (1, 10_000)
        ]
        for ours, theirs in zip(*made, strict=True):
            assert ours.numbers == pytest.approx(theirs.numbers, abs=1e-5)


def test_the_unseen_are_wrong_answers() -> None:
    asked = facts(3)
    assert unseen_answers(asked[:1], asked) == {"forget/A": "Tower A is in Izmir."}
    without = facts(3, perturbed_answers=())
    assert unseen_answers(without, without) == {
        "forget/A": without[1].answer,
        "forget/B": without[2].answer,
        "forget/C": without[0].answer,
    }
    alone = [*without[:1], Fact(without[1].item, "year")]
    assert unseen_answers(alone, alone) == {}


def test_holdout_items_are_taken_where_there_are_any() -> None:
    asked = facts(3)
    held = tuple(Item(id=f"holdout/{n}", question=f"Who is {n}?", answer=f"Nobody {n}.") for n in range(6))
    around = replace(context(asked, {}), holdout=held)
    assert [answer for _, answer in unseen_items(asked, around).values()] == ["Nobody 0.", "Nobody 2.", "Nobody 4."]
    assert unseen_items(asked[1:2], around) == {"forget/B": (held[2].prompt, "Nobody 2.")}
    fewer = unseen_items(asked, replace(around, holdout=held[:2]))
    assert list(fewer) == ["forget/A", "forget/B"]
    rows = [row for part in ("facts", "unseen") for row in run_part(asked, part, around)]
    scalars = Membership().scalars({"after": rows})
    assert "auc_loss_after" in scalars
    assert "unseen_are_wrong_answers" not in scalars


def run_part(asked: Sequence[Fact], part: str, around: Context) -> list[Row]:
    return Membership().run(subject(not_knowing()), asked, Unit(part), around)


def test_parts_of_different_lengths_are_not_compared() -> None:
    def rows(count: int) -> list[Row]:
        return [
            Row(attack="membership", variant=part, seed=0, fact=str(n), hit=None, numbers={"loss": float(n)})
            for part in ("facts", "unseen")
            for n in range(count)
        ]

    scalars = Membership().scalars({"control": rows(3), "after": rows(2)})
    assert scalars["auc_loss_after"] == 0.5
    assert "gap_loss" not in scalars
    assert Membership().scalars({"after": []}) == {}


def test_it_is_no_part_of_quick_and_its_scores_are_of_the_text() -> None:
    assert Membership().units("quick") == []
    from efface.auditing.measures.answer_tokens import AnswerTokens

    tokens = AnswerTokens([-1.0, -3.0], [True, False], [-2.0, -2.0], [1.0, 1.0])
    assert membership_scores(tokens, "a" * 100) == {"loss": 2, "zlib": 2 / 12, "min_k": 3, "min_k_plus_plus": 1}
