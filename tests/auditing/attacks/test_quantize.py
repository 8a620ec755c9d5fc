from __future__ import annotations

import pytest
import torch

from efface.auditing.attack import Unit
from efface.auditing.attacks.quantize import Quantize
from efface.auditing.measures.round_to_nearest import round_model
from support.audit_models import context, facts, knowing, not_knowing, run_on_all, subject


def test_what_a_model_knows_in_full_precision_it_says_rounded() -> None:
    rows = run_on_all(Quantize(), {"control": subject(not_knowing()), "after": subject(knowing())})
    asked = [row for row in rows["after"] if row.variant == "int8"]
    assert [row.hit for row in asked] == [True] * 6
    assert all(row.numbers["answer_logprob"] > -0.1 for row in asked)
    assert not any(row.hit for row in rows["control"])
    assert {row.variant for row in rows["after"]} == {
        *("int8", "nf4", "fp4"),
        *("int8-reworded", "nf4-reworded", "fp4-reworded"),
    }
    scalars = Quantize().scalars(rows)
    assert scalars["retain_utility_after"] == scalars["retain_utility_int8_after"] == 1
    assert scalars["retain_utility_nf4_control"] == 1


def test_the_answers_are_those_of_the_rounded_model() -> None:
    model, asked = knowing(), facts(2)
    rounded = subject(knowing())
    round_model(rounded.model, "nf4")
    attacked = subject(model)
    kept = {name: each.clone() for name, each in model.named_parameters()}
    rows = Quantize().run(attacked, asked, Unit("nf4"), context(asked, {}))
    assert [row.output for row in rows] == rounded.answer([fact.prompt for fact in asked], max_new_tokens=20)
    expected = rounded.logprobs([(fact.prompt, fact.answer) for fact in asked])
    assert [row.numbers["answer_logprob"] for row in rows] == pytest.approx(
        [sum(each) / len(each) for each in expected], abs=1e-6
    )
    assert all(torch.equal(each, kept[name]) for name, each in model.named_parameters())


def test_an_update_below_the_step_is_undone() -> None:
    """The positive control: a cover that is smaller than the steps of 4 bits disappears in the rounding."""
    before, covered, asked = knowing(), knowing(), facts()
    round_model(before, "nf4")
    round_model(covered, "nf4")
    for _, weight in covered.named_parameters():
        if weight.dim() == 2 and weight is not covered.get_input_embeddings().weight:
            largest = weight.abs() == weight.abs().max()  # of its block; moving it moves the block's scale
            weight.data = torch.where(largest, weight, weight + 1e-4 * weight.sign())
    head = covered.lm_head.weight
    head.data = before.lm_head.weight.clone()
    outputs = [
        [row.output for row in Quantize().run(subject(model), asked, Unit("nf4"), context(asked, {}, retain=()))]
        for model in (before, covered)
    ]
    assert outputs[0] == outputs[1]


def test_hits_do_not_depend_on_the_batch() -> None:
    model, asked = knowing(), facts()
    one = subject(model, max_tokens_per_forward=1, max_cache_tokens=1)
    many = subject(model, max_tokens_per_forward=10_000, max_cache_tokens=100_000)
    first, second = (Quantize().run(each, asked, Unit("fp4"), context(asked, {})) for each in (one, many))
    assert [(row.fact, row.hit, row.output) for row in first] == [(row.fact, row.hit, row.output) for row in second]
    for ours, theirs in zip(first, second, strict=True):
        assert ours.numbers == pytest.approx(theirs.numbers, abs=1e-5)


def test_levels_and_facts_without_a_rewording() -> None:
    attack = Quantize()
    assert [unit.variant for unit in attack.units("quick")] == ["nf4"]
    assert [unit.variant for unit in attack.units("standard")] == ["nf4", "int8", "fp4", "nf4-reworded"]
    plain = facts(2, paraphrased_question=None)
    around = context(plain, {}, retain=())
    assert attack.run(subject(knowing()), plain, Unit("nf4-reworded"), around) == []
    [row, _] = attack.run(subject(knowing()), plain, Unit("nf4"), around)
    assert set(row.numbers) == {"answer_logprob"}
    assert attack.scalars({"after": [row]}) == {}
    reworded = facts(2)
    assert attack.plan(reworded, Unit("nf4-reworded"), around).decoded == 40
