"""Custom objectives: their part in a method, and what is rejected before training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.errors import EffaceError
from efface.objectives.config import METHODS, ObjectiveConfig
from efface.objectives.custom import ForgetObjective, RetainObjective, check_custom_objective
from efface.objectives.method import objective
from efface.objectives.terms import DistributionTerm, Reference, SequenceTerm, TokenTerm
from efface.text.sequence import TokenizedSequence
from efface.train.step import batch_losses

GOLDEN = Path(__file__).parents[1] / "golden"
CPU = torch.device("cpu")


class Weighted(ForgetObjective):
    """Gradient ascent, each token weighted by its probability."""

    name = "weighted"

    def term(self, config):
        return TokenTerm("forget", lambda logp_N: logp_N.detach().exp() ** config.beta * logp_N)


class Tether(RetainObjective):
    """Twice the cross-entropy."""

    name = "twice"

    def term(self, config):
        return TokenTerm("retain", lambda logp_N: -2 * logp_N)


def custom(term):
    """An objective called `custom` with this term."""

    class Custom(ForgetObjective):
        name = "custom"

        def term(self, config):
            return term() if callable(term) else term

    return Custom()


# In a method


def test_each_side_of_the_plus_can_be_custom():
    objectives = (Weighted(), Tether())
    for method, views in (
        ("weighted", ("forget",)),
        ("weighted+kl", ("forget", "retain")),
        ("me+twice", ("forget", "retain")),
    ):
        bound = objective(method, ObjectiveConfig(), objectives)
        assert (bound.name, bound.views) == (method, views)
    assert objective("WEIGHTED + Twice", ObjectiveConfig(), objectives).name == "weighted+twice"
    assert objective("ga+gd", ObjectiveConfig(), objectives) == objective("ga+gd", ObjectiveConfig())


@pytest.mark.parametrize("method", ["twice", "twice+gd", "me+weighted", "weighted+", "weighted+gd+kl"])
def test_each_is_only_known_on_its_side(method):
    with pytest.raises(EffaceError, match="unknown method"):
        objective(method, ObjectiveConfig(), (Weighted(), Tether()))


def test_custom_names_are_suggested():
    with pytest.raises(EffaceError, match=re.escape("did you mean 'weighted+gd'?")):
        objective("weigted+gd", ObjectiveConfig(), (Weighted(),))
    with pytest.raises(EffaceError) as error:
        objective("weigted+gd", ObjectiveConfig())
    assert "weighted+gd'" not in str(error.value).partition(";")[2]


@pytest.mark.parametrize("max_tokens_per_forward", [None, 1])
def test_values_and_gradients_in_training(max_tokens_per_forward):
    """Against the forward pass of the model: the mean over all answer tokens; the weights have no gradient."""
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)
    items = [TokenizedSequence(str(n), [5 + n, 9, 4], list(range(20, 20 + length))) for n, length in enumerate((3, 8))]
    bound = objective("weighted+twice", ObjectiveConfig(beta=0.5), (Weighted(), Tether()))
    examples = [{"forget": item, "retain": item} for item in items]
    result = batch_losses(model, bound, examples, Reference(), max_tokens_per_forward=max_tokens_per_forward)
    logp = torch.cat([_logprobs(model, item) for item in items])
    weighted = (logp.detach().exp().sqrt() * logp).mean()
    assert result.forget.item() == pytest.approx(weighted.item(), rel=1e-9)
    assert result.retain.item() == pytest.approx(-2 * logp.mean().item(), rel=1e-9)
    weight = model.lm_head.weight
    [computed] = torch.autograd.grad(result.forget, weight, retain_graph=True)
    [expected] = torch.autograd.grad(weighted, weight)
    torch.testing.assert_close(computed, expected)


def _logprobs(model, item):
    logits = model(torch.tensor([item.prompt + item.answer])).logits[0, len(item.prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(item.answer)[:, None])[:, 0]


# Terms that cannot be used


def distribution_term(positions="all", average="tokens", padded_length=None):
    return DistributionTerm(
        "forget",
        lambda logits_NV: logits_NV[:, 0],
        positions=positions,
        reference=False,
        average=average,
        padded_length=padded_length,
    )


@pytest.mark.parametrize(
    ("term", "named"),
    [
        (lambda: 1 / 0, ["ZeroDivisionError: division by zero", "correct it"]),
        (None, ["NoneType", "return a TokenTerm, a SequenceTerm or a DistributionTerm"]),
        (TokenTerm("forgt", len), ["('forgt',)", "allowed are one or more of forget, forget_idk"]),
        (SequenceTerm("forget", len, reference=False), ["reads 'forget'", "allowed are one or more"]),
        (SequenceTerm((), len, reference=False), ["reads ()", "allowed are one or more of forget"]),
        (distribution_term(positions="prompt"), ["positions='prompt'", "allowed: answer, all"]),
        (distribution_term(average="mean"), ["average='mean'", "allowed: tokens, sequences, padded"]),
        (distribution_term(average="padded"), ["average='padded'", "padded_length, such as 500"]),
        (
            distribution_term(average="padded", padded_length=9, positions="answer"),
            ["average='padded'", "positions='all'"],
        ),
    ],
)
def test_a_term_that_cannot_be_used_is_named_with_a_remedy(term, named):
    with pytest.raises(EffaceError) as error:
        objective("custom", ObjectiveConfig(), (custom(term),))
    assert all(words in str(error.value) for words in ["objective 'custom'", *named])
    assert "\n" not in str(error.value)


# Losses that cannot be used


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        (lambda x: x.mean(), ["a tensor of shape [] for 3 rows", "one number for each row, shape [3]"]),
        (lambda x: x[:1], ["a tensor of shape [1] for 3 rows"]),
        (lambda x: 0.5, ["float for 3 rows"]),
        (lambda x: x.detach() ** 2, ["no gradient reaches the model", "use detach() only on a part"]),
        (lambda x: (x - 5).log(), ["is not finite", "[nan, nan, nan]", "correct the formula"]),
        (lambda x, y: x, ["it failed on 3 rows (TypeError: ", "correct it"]),
    ],
)
def test_a_loss_that_cannot_be_used_is_named_with_a_remedy(loss, named):
    bound = objective("custom+gd", ObjectiveConfig(), (custom(TokenTerm("forget", loss)),))
    with pytest.raises(EffaceError) as error:
        check_custom_objective(bound, vocabulary=11, device=CPU)
    assert all(words in str(error.value) for words in ["method custom+gd, forget loss: ", *named])
    assert "\n" not in str(error.value)


def test_losses_are_tried_on_the_shapes_of_training():
    seen = []

    def watched(*inputs):
        seen.append([tuple(each.shape) for each in inputs])
        return inputs[0].reshape(3, -1)[:, 0]

    pair = SequenceTerm(("forget_idk", "forget"), watched, reference=True)
    distribution = DistributionTerm("retain", watched, positions="all", reference=True)
    for term in (TokenTerm("forget", watched), pair, distribution):
        check_custom_objective(objective("custom", ObjectiveConfig(), (custom(term),)), vocabulary=7, device=CPU)
    assert seen == [[(3,)], [(3,)] * 4, [(3, 7)] * 2]


@pytest.mark.parametrize("method", METHODS)
def test_no_built_in_loss_is_rejected(method):
    check_custom_objective(objective(method, ObjectiveConfig()), vocabulary=7, device=CPU)


@pytest.mark.parametrize(
    "term",
    [
        SequenceTerm(("forget",), lambda logp_B, length_B: logp_B / length_B, reference=False, lengths=True),
        DistributionTerm(
            "forget",
            lambda logits_NV, ref_logits_NV, target_N: (logits_NV - ref_logits_NV).gather(1, target_N[:, None])[:, 0],
            positions="answer",
            reference=True,
            targets=True,
        ),
    ],
    ids=["lengths", "targets"],
)
def test_a_loss_of_lengths_or_targets_is_tried_with_some(term):
    check_custom_objective(objective("custom", ObjectiveConfig(), (custom(term),)), vocabulary=7, device=CPU)


def test_a_loss_beside_one_of_hidden_states():
    bound = objective("custom+embed", ObjectiveConfig(), (custom(TokenTerm("forget", lambda logp_N: logp_N)),))
    check_custom_objective(bound, vocabulary=7, device=CPU)
