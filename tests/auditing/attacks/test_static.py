from __future__ import annotations

import pytest
import torch

from efface.auditing.attack import ModelName, Unit
from efface.auditing.attacks.static import NF4_STEP, Static, compare_weights, line_losses, weight_change
from efface.auditing.measures.round_to_nearest import block_scales, linear_weights
from efface.auditing.subject import Subject
from support.audit_models import InMemory, context, facts, knowing, load, not_knowing, run_on_all, subject


def test_equal_models_have_not_moved() -> None:
    subjects: dict[ModelName, Subject] = {"before": subject(knowing(), "before"), "after": subject(knowing())}
    scalars = Static().scalars(run_on_all(Static(), subjects))
    assert scalars["relative_l2_after"] == scalars["nf4_codes_changed_after"] == 0
    assert scalars["update_in_nf4_steps_after"] == 0
    assert scalars["barrier_forget_after"] == pytest.approx(0, abs=1e-6)
    assert not any(name.startswith("layer") for name in scalars)


def test_distances_by_hand() -> None:
    before = torch.tensor([[1.0, -1.0, 0.5, 0.0] * 16])
    change = weight_change(before * 1.1, before, rounded=True)
    assert change.numbers()["relative_l2"] == pytest.approx(0.1)
    assert change.numbers()["nf4_codes_changed"] == 0  # the scale moves with the block
    step = weight_change(before + 0.5 * NF4_STEP, before, rounded=True)
    assert step.numbers()["update_in_nf4_steps"] == pytest.approx(0.5, rel=0.01)
    one = before.clone()
    one[0, 3] = 0.2
    assert weight_change(one, before, rounded=True).numbers()["nf4_codes_changed"] == 1 / 64
    assert "nf4_codes_changed" not in weight_change(one, before, rounded=False).numbers()


@pytest.mark.parametrize("shape", [(3, 50), (64, 64), (7, 130)])
def test_the_median_is_that_of_all_weights(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    before, update = torch.randn(shape, generator=random), 1e-3 * torch.randn(shape, generator=random)
    steps = (block_scales(before) * NF4_STEP).repeat_interleave(64)[: before.numel()]
    exact = float((update.flatten().abs() / steps).quantile(0.5))
    found = weight_change(before + update, before, rounded=True).numbers()["update_in_nf4_steps"]
    assert found == pytest.approx(exact, rel=0.02)


def test_layers_and_the_whole() -> None:
    model, before = load(), load()
    layer = model.model.layers[1].mlp.up_proj.weight
    layer.data *= 1.01
    changes = compare_weights(model, InMemory(subject(before)))
    moved = {name for name, change in changes.items() if change.squared_update > 0}
    assert moved == {"model.layers.1"}
    assert sum(change.codes for change in changes.values()) == sum(
        each.weight.numel() for each in linear_weights(model)
    )
    rows = Static().run(subject(model), [], Unit("weights"), context([], {"before": subject(before, "before")}))
    assert [row.fact for row in rows] == ["", "model.layers.0", "model.layers.1"]
    assert rows[1].numbers["layer_relative_l2"] == 0 < rows[0].numbers["relative_l2"]
    assert rows[2].numbers["layer_relative_l2"] > rows[0].numbers["relative_l2"]


def test_the_line_goes_from_the_model_to_the_one_before() -> None:
    before, after = subject(knowing(), "before"), subject(not_knowing())
    asked = facts()
    kept = {name: each.clone() for name, each in after.model.named_parameters()}
    found = line_losses(after, InMemory(before), asked, context(asked, {}))
    assert [name for name in found if name.startswith("loss_forget")] == [
        f"loss_forget_{share}" for share in ("0.00", "0.17", "0.33", "0.50", "0.67", "0.83", "1.00")
    ]

    def loss(each: Subject) -> float:
        logprobs = each.logprobs([(fact.prompt, fact.answer) for fact in asked])
        return -sum(sum(values) / len(values) for values in logprobs) / len(logprobs)

    assert found["loss_forget_1.00"] == pytest.approx(loss(before), abs=1e-5)
    assert found["loss_forget_0.00"] == pytest.approx(loss(after), abs=1e-5)
    assert all(torch.equal(each, kept[name]) for name, each in after.model.named_parameters())
    middle = not_knowing()
    for own, other in zip(middle.parameters(), before.model.parameters(), strict=True):
        own.data.lerp_(other.data, 0.5)
    assert found["loss_forget_0.50"] == pytest.approx(loss(subject(middle)), abs=1e-4)
    highest = max(value for name, value in found.items() if name.startswith("loss_retain"))
    assert found["barrier_retain"] == highest - max(found["loss_retain_0.00"], found["loss_retain_1.00"]) > 0


def test_the_model_before_is_not_compared_with_itself() -> None:
    before = subject(load(), "before")
    assert Static().run(before, [], Unit("weights"), context([], {"before": before})) == []
    assert [unit.variant for unit in Static().units("quick")] == ["weights"]
