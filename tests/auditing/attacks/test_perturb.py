from __future__ import annotations

import pytest
import torch

from efface.auditing.attack import Unit
from efface.auditing.attacks.perturb import Perturb, add_noise, prune_model, pruned
from efface.auditing.fact import Row
from efface.auditing.measures.round_to_nearest import linear_weights
from support.audit_models import context, facts, knowing, load, not_knowing, subject


def test_a_little_damage_leaves_what_is_known() -> None:
    asked, attack = facts(3), Perturb()
    rows = [
        row
        for unit in (Unit("prune-10"), Unit("noise-1"), Unit("noise-1", 1))
        for row in attack.run(subject(knowing()), asked, unit, context(asked, {}))
    ]
    assert len(rows) == 9
    assert all(row.hit and attack.counts(row) for row in rows)
    assert attack.scalars({"after": rows})["retain_utility_noise-1_after"] == 1
    control = attack.run(subject(not_knowing()), asked, Unit("noise-1"), context(asked, {}))
    assert not any(row.hit for row in control)


@pytest.mark.parametrize(("utility", "counted"), [(0.8, True), (0.79, False)])
def test_a_hit_counts_where_the_model_is_still_of_use(utility: float, counted: bool) -> None:
    numbers = {"retain_utility": utility, "retain_utility_intact": 1.0}
    row = Row(attack="perturb", variant="prune-30", seed=0, fact="f", hit=True, numbers=numbers)
    assert Perturb().counts(row) is counted
    assert not Perturb().counts(row.model_copy(update={"numbers": {}}))


def test_pruning_sets_the_smallest_to_zero() -> None:
    weight = torch.tensor([[3.0, -1.0, 2.0, 0.5], [-4.0, 1.0, 5.0, -6.0]])
    expected = torch.tensor([[3.0, 0.0, 2.0, 0.0], [-4.0, 1.0, 5.0, -6.0]])  # of the two ones, the first
    assert torch.equal(pruned(weight, 0.25), expected)
    assert torch.equal(pruned(weight, 0.3), expected)
    model = load()
    prune_model(model, 0.2)
    for _, weight, _ in linear_weights(model):
        assert int((weight == 0).sum()) == int(0.2 * weight.numel())


def test_noise_has_its_size_and_depends_on_the_seed_alone() -> None:
    models = [load() for _ in range(4)]
    for model, seed in zip(models[1:], (1, 1, 2), strict=True):
        add_noise(model, 0.05, seed=seed)
    before, one, same, other = ({each.name: each.weight.detach() for each in linear_weights(model)} for model in models)
    for name, weight in before.items():
        assert float((one[name] - weight).std() / weight.std()) == pytest.approx(0.05, rel=0.1)
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name])
    assert torch.equal(models[0].lm_head.weight, models[1].lm_head.weight)


def test_the_weights_are_put_back() -> None:
    model, asked = knowing(), facts(1)
    kept = {name: each.clone() for name, each in model.named_parameters()}
    for unit in (Unit("prune-30"), Unit("noise-5", 2)):
        Perturb().run(subject(model), asked, unit, context(asked, {}))
    assert all(torch.equal(each, kept[name]) for name, each in model.named_parameters())


def test_it_is_part_of_full_only() -> None:
    assert Perturb().units("quick") == Perturb().units("standard") == []
    assert len(Perturb().units("full")) == 3 + 3 * 3
