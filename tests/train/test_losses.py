"""The published losses, on the path that training uses: values, gradient norms, every variant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import efface
from efface.objectives.config import FORGET, LLMU, RETAIN, ObjectiveConfig
from efface.objectives.forget import control_vector
from efface.objectives.method import objective
from efface.train.retain_bound import dual_step
from support.messages import assert_names
from support.published import micro_batch_losses, padded_row

GOLDEN = Path(__file__).parents[1] / "golden"
NUMBERS = json.loads((GOLDEN / "objectives.json").read_text())
METHODS = sorted(NUMBERS["losses"])
OPEN_UNLEARNING = json.loads((GOLDEN / "open_unlearning" / "losses_and_metrics.json").read_text())
FLOAT32_CROSS_ENTROPY = {"GA", "GD", "IDK", "LLMU"}
"""The published code upcasts these to float32 whatever the model's dtype."""


@pytest.fixture(scope="module")
def models():
    model, reference = (
        AutoModelForCausalLM.from_pretrained(GOLDEN / name, dtype=torch.float64) for name in ("model", "reference")
    )
    return model, reference.eval()


def tolerance(name: str) -> float:
    return 1e-5 if name in FLOAT32_CROSS_ENTROPY else 1e-6


@pytest.mark.parametrize(
    "max_tokens_per_forward", [None, 60, 1], ids=["one forward", "two items", "one item at a time"]
)
@pytest.mark.parametrize("method", METHODS)
def test_method(models, method, max_tokens_per_forward):
    model, reference = models
    golden = NUMBERS["losses"][method]
    model.zero_grad()
    result = efface.losses(
        model,
        NUMBERS["views"],
        method,
        beta=NUMBERS["beta"],
        reference=reference,
        max_tokens_per_forward=max_tokens_per_forward,
    )
    (result.forget + result.retain).backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    forget, _, retain = method.partition("+")
    assert result.forget.item() == pytest.approx(golden["forget"], rel=tolerance(forget))
    assert result.retain.item() == pytest.approx(golden["retain"], rel=tolerance(retain or method))
    assert norm.item() == pytest.approx(golden["grad_norm_of_sum"], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"positions": "answer"}, "ref_to_model_mean_over_answer_tokens"),
        ({"positions": "all"}, "ref_to_model_mean_over_all_real_tokens"),
        ({"direction": "model_to_reference"}, "model_to_ref_mean_over_answer_tokens"),
    ],
)
def test_kl_variants(models, options, key):
    model, reference = models
    result = efface.losses(model, NUMBERS["views"], "ga+kl", reference=reference, kl=options)
    assert result.retain.item() == pytest.approx(NUMBERS["kl_variants"][key], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "uniform_to_model_mean_over_all_real_tokens"),
        ({"direction": "model_to_uniform"}, "model_to_uniform_mean_over_all_real_tokens"),
        ({"positions": "answer"}, "uniform_to_model_mean_over_answer_tokens"),
        (
            {"direction": "model_to_uniform", "average": "sequences"},
            "model_to_uniform_mean_of_per_sequence_means",
        ),
    ],
)
def test_me_variants(models, options, key):
    model, _ = models
    result = efface.losses(model, NUMBERS["views"], "me+gd", me=options)
    assert result.forget.item() == pytest.approx(NUMBERS["me_variants"][key], rel=1e-6)


@pytest.mark.parametrize("max_tokens_per_forward", [None, 1])
@pytest.mark.parametrize("method", METHODS)
def test_padded_rows_as_published(models, method, max_tokens_per_forward):
    """The padding, too, goes through the model and into ME and KL: values and gradients of a plain implementation."""
    model, reference = models
    options = {"average": "padded", "padded_length": 80}
    views = NUMBERS["views"]
    gradients = []
    for plainly in (False, True):
        model.zero_grad()
        if plainly:
            rows = {view: [padded_row(row["prompt"], row["answer"][:-1], row["answer"][-1], 80) for row in views[view]]
                    for view in views}  # fmt: skip
            expected = micro_batch_losses(method.lower(), model, reference, rows, NUMBERS["beta"])
            (expected[0] + expected[1]).backward()
        else:
            found = efface.losses(
                model, views, method, beta=NUMBERS["beta"], reference=reference, me=options, kl=options,
                max_tokens_per_forward=max_tokens_per_forward,
            )  # fmt: skip
            (found.forget + found.retain).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    # RMSNorm computes in float32, and may round the last digit of a float64 input the other way
    assert found.forget.item() == pytest.approx(expected[0].item(), rel=1e-7)
    assert found.retain.item() == pytest.approx(expected[1].item(), rel=1e-7)
    assert (gradients[0] - gradients[1]).norm() < 1e-6 * gradients[1].norm()


def test_a_sequence_longer_than_its_row(models):
    options = {"average": "padded", "padded_length": 3}
    with pytest.raises(efface.EffaceError, match=r"item 'forget/0'.* the 3 of a padded row"):
        efface.losses(models[0], NUMBERS["views"], "me+gd", me=options)


@pytest.mark.parametrize("view", sorted(NUMBERS["sum_log_probs"]))
@pytest.mark.parametrize("index", [0, 1], ids=["model", "reference"])
def test_sequence_logprobs(models, view, index):
    from efface.packing.logprobs import answer_logprobs
    from efface.text.sequence import TokenizedSequence

    items = [TokenizedSequence(str(n), row["prompt"], row["answer"]) for n, row in enumerate(NUMBERS["views"][view])]
    sums = [sum(values) for values in answer_logprobs(models[index], items, max_tokens_per_forward=100)]
    assert sums == pytest.approx(NUMBERS["sum_log_probs"][view][["model", "reference"][index]], rel=1e-6)


def test_missing_view_and_reference_are_named(models):
    model, _ = models
    with pytest.raises(efface.EffaceError) as error:
        efface.losses(model, {"forget_idk": NUMBERS["views"]["forget_idk"], "forget": []}, "idk+ap")
    assert_names(
        str(error.value), "'idk+ap'", "forget_idk, retain_idk, retain", "add retain_idk, retain,", "forget_idk, forget)"
    )
    with pytest.raises(efface.EffaceError, match="reference="):
        efface.losses(model, NUMBERS["views"], "npo+gd")
    with pytest.raises(efface.EffaceError, match="did you mean 'me\\+gd'"):
        efface.losses(model, NUMBERS["views"], "em+gd")


def test_the_documentation_says_what_each_method_needs():
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
    table = page.partition("is needed by |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if "`" in line]
    documented = {key: set(names.lower().split(", ")) for key, names in rows}
    needed = {key: set() for key in documented}
    for name in (*FORGET, LLMU, *RETAIN):
        bound = objective(f"wga+{name}" if name in RETAIN else name, ObjectiveConfig())
        if bound.sequence_reference_views or bound.needs_distribution:
            needed["`reference`"].add(name)
        for view in {*bound.views} - {"forget", "retain"}:
            [key] = [key for key in documented if f"`{view}`" in key]
            needed[key].add(name)
    assert needed == documented


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({}, {"beta": 0.0}, "option beta=0.0"),
        ({}, {"me": {"direktion": "x"}}, "option me.direktion"),
        ({"forget": [{"prompt": [], "answer": [1]}]}, {}, "item forget/0: give at least one token"),
        ({"forget": [{"prompt": [0], "answer": [512]}]}, {}, "from 0 to 511"),
        ({"forget": [{"prompt": [0]}]}, {}, "item forget/0 needs the keys prompt and answer, it has prompt$"),
        ({"forget": [{}]}, {}, "item forget/0 needs the keys prompt and answer, it has none$"),
        ({"retain": NUMBERS["views"]["retain"][:1]}, {}, "the same number of items"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(models, change, options, sentence):
    views = {**NUMBERS["views"], **change}
    if "forget" in change:
        views["retain"] = views["retain"][:1]
    with pytest.raises(efface.EffaceError, match=sentence):
        efface.losses(models[0], views, "me+gd", **options)


def test_gradient_checkpointing_is_refused(models):
    model = models[0]
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    try:
        with pytest.raises(efface.EffaceError, match="gradient_checkpointing_disable"):
            efface.losses(model, NUMBERS["views"], "me+gd")
    finally:
        model.gradient_checkpointing_disable()
        model.eval()


def settings_of(trainer, settings):
    """The settings here of those of open-unlearning's trainer; its control vectors are given."""
    names = {
        "SimNPO": ("simnpo", {"beta": "beta", "delta": "delta"}),
        "WGA": ("wga", {"beta": "beta"}),
        "SatImp": ("satimp", {"beta1": "beta1", "beta2": "beta2"}),
        "CEU": ("ceu", {"ignore_first_n_answer_tokens": "ignore_first_n_answer_tokens"}),
    }
    if trainer in names:
        name, keys = names[trainer]
        return {name: {ours: settings[theirs] for theirs, ours in keys.items()}}
    if trainer == "PDU":
        return {"pdu": {"positions": "predicted"}}
    layer, average = int(settings["module_regex"][-1]), {"average": "broadcast"}
    return {"rmu": {"layer": layer, **average}, "embed": average}


def gradient_norm(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item()


@pytest.mark.parametrize("max_tokens_per_forward", [None, 1])
@pytest.mark.parametrize(
    ("trainer", "case"),
    [(name, case) for name in ("SimNPO", "WGA", "SatImp", "CEU", "PDU", "RMU")
     for case in ("default", "other", "NLL") if case in OPEN_UNLEARNING["losses"][name]],
)  # fmt: skip
def test_losses_of_open_unlearning(models, trainer, case, max_tokens_per_forward):
    model, reference = models
    golden = OPEN_UNLEARNING["losses"][trainer][case]
    settings, numbers = golden["settings"], golden["pad_distinct"]
    options = settings_of(trainer, settings)
    if trainer == "RMU":
        options["rmu"]["control_vector"] = golden["control_vector"]
    kind = settings.get("retain_loss_type", "NLL")
    retain = {"NLL": "+gd", "EMBED_DIFF": "+embed", "KL": "+gd"}[kind] if "alpha" in settings else ""
    result = efface.losses(
        model,
        NUMBERS["views"],
        trainer.lower() + retain,
        reference=reference,
        max_tokens_per_forward=max_tokens_per_forward,
        **options,
    )
    assert result.forget.item() == pytest.approx(numbers["forget"], rel=1e-6, abs=1e-15)
    if kind == "KL":  # theirs also covers prompts and padding
        assert gradient_norm(model, result.forget) > 0
        return
    gamma, alpha = settings.get("gamma", 1), settings.get("alpha", 1)
    assert gradient_norm(model, gamma * result.forget + alpha * result.retain) == pytest.approx(
        numbers["grad_norm"], rel=1e-6
    )
    if retain:
        assert result.retain.item() == pytest.approx(numbers["retain"], rel=1e-6)


def test_kl_of_open_unlearning(models):
    """Its batch is padded with ends of sequences to its longest row, and every position of it counts."""
    model, reference = models
    numbers = OPEN_UNLEARNING["losses"]["GradDiff"]["KL"]["pad_eos"]
    length = max(len(row["prompt"]) + len(row["answer"]) for row in NUMBERS["views"]["retain"])
    padded = {"average": "padded", "padded_length": length}
    result = efface.losses(model, NUMBERS["views"], "ga+kl", reference=reference, kl=padded)
    assert result.retain.item() == pytest.approx(numbers["retain"], rel=1e-6)
    assert gradient_norm(model, result.forget + result.retain) == pytest.approx(numbers["grad_norm"], rel=1e-6)


@pytest.mark.parametrize("case", ["default", "other"])
def test_the_coefficient_of_pdu(case):
    golden = OPEN_UNLEARNING["losses"]["PDU"][case]
    settings, numbers = golden["settings"], golden["pad_distinct"]
    bound, rate = settings["retain_loss_eps"], settings["dual_step_size"]
    after = dual_step(settings["alpha"], numbers["retain"], bound=bound, rate=rate)
    assert after == pytest.approx(numbers["retain_coefficient_after"], rel=1e-6)


VARIANTS = [name for name in OPEN_UNLEARNING["variants"] if name.startswith(("undial", "rmu", "pdu"))]


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_of_open_unlearning_as_counted_here(models, variant):
    model, reference = models
    golden = OPEN_UNLEARNING["variants"][variant]
    method, settings = variant.partition("_")[0], golden["settings"]
    options = {}
    if method == "undial":
        options = {"undial": settings}
    elif method == "rmu":
        counted = {"positions": settings["positions"], "average": settings["average"]}
        control = OPEN_UNLEARNING["losses"]["RMU"][variant.split("_")[1]]["control_vector"]
        options = {"rmu": {"layer": settings["layer"], "control_vector": control, **counted}, "embed": counted}
    views = NUMBERS["views"]
    result = efface.losses(model, views, method, reference=reference, **options)
    assert result.forget.item() == pytest.approx(golden["forget"], rel=1e-6)
    assert gradient_norm(model, result.forget) == pytest.approx(golden["grad_norm"], rel=1e-6)
    if "retain" in golden:
        both = efface.losses(model, views, f"{method}+embed", reference=reference, **options)
        assert both.retain.item() == pytest.approx(golden["retain"], rel=1e-6)


def test_the_control_vector_of_a_seed_is_that_of_open_unlearning():
    golden = OPEN_UNLEARNING["losses"]["RMU"]["default"]
    drawn = control_vector(len(golden["control_vector"]), length=2, seed=golden["control_vector_seed"])
    assert drawn.tolist() == pytest.approx(golden["control_vector"], rel=1e-6)


@pytest.mark.parametrize("max_tokens_per_forward", [None, 1])
def test_jensun_and_jsd_against_a_plain_implementation(models, max_tokens_per_forward):
    """arXiv:2509.02820, with whole distributions: the refusal's tokens, repeated to the length of the answer."""
    model, reference = models
    refusals = [[5, 6, 1], [7, 1], [8, 9, 10, 1]]  # shorter than the answers, so that they are repeated
    rows = zip(NUMBERS["views"]["forget_idk"], refusals, strict=True)
    views = {**NUMBERS["views"], "forget_idk": [{"prompt": row["prompt"], "answer": ids} for row, ids in rows]}

    def logits(of, row):
        ids = [*row["prompt"], *row["answer"]]
        return of(torch.tensor([ids])).logits[0, len(row["prompt"]) - 1 : -1]

    def divergence(p, q):
        middle = (p + q) / 2
        return sum((torch.xlogy(each, each) - torch.xlogy(each, middle)).sum(-1) for each in (p, q)) / 2

    forget, retain = [], []
    for row, refusal in zip(views["forget"], views["forget_idk"], strict=True):
        repeated = (refusal["answer"][:-1] * len(row["answer"]))[: len(row["answer"])]
        p = logits(model, row).softmax(-1)
        forget.append(divergence(p, torch.nn.functional.one_hot(torch.tensor(repeated), p.shape[-1]).double()))
    for row in views["retain"]:
        with torch.no_grad():
            q = logits(reference, row).softmax(-1)
        retain.append(divergence(logits(model, row).softmax(-1), q))
    expected = torch.cat(forget).mean(), torch.cat(retain).mean()
    norm = gradient_norm(model, expected[0] + expected[1])
    found = efface.losses(
        model, views, "jensun+jsd", reference=reference, max_tokens_per_forward=max_tokens_per_forward
    )
    assert found.forget.item() == pytest.approx(expected[0].item(), rel=1e-6)
    assert found.retain.item() == pytest.approx(expected[1].item(), rel=1e-6)
    assert gradient_norm(model, found.forget + found.retain) == pytest.approx(norm, rel=1e-6)


def test_altpo_is_dpo_with_another_answer(models):
    model, reference = models
    views = NUMBERS["views"]
    alternate = efface.losses(
        model, {**views, "forget_alternate": views["forget_idk"]}, "altpo+gd", reference=reference
    )
    assert alternate.forget.item() == pytest.approx(NUMBERS["losses"]["DPO+GD"]["forget"], rel=1e-6)


def test_a_layer_that_the_model_does_not_have(models):
    with pytest.raises(efface.EffaceError) as error:
        efface.losses(models[0], NUMBERS["views"], "rmu+gd")
    assert_names(str(error.value), "layer 7", "2 decoder layers", "rmu.layer", "0 to 1")
