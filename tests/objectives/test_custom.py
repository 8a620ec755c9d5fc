"""Objectives of the user's own: what a method makes of them, and what is refused before it trains anything."""

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
from efface.text.formatter import TokenizedSequence
from efface.train.step import batch_losses

GOLDEN = Path(__file__).parents[1] / "golden"
CPU = torch.device("cpu")


class Weighted(ForgetObjective):
    """Gradient ascent, each token weighted by its probability."""

    name = "wga"

    def term(self, config):
        return TokenTerm("forget", lambda logp_N: logp_N.detach().exp() ** config.beta * logp_N)


class Tether(RetainObjective):
    """Twice the cross-entropy."""

    name = "twice"

    def term(self, config):
        return TokenTerm("retain", lambda logp_N: -2 * logp_N)


def own(term):
    """An objective called `own` with this term."""

    class Own(ForgetObjective):
        name = "own"

        def term(self, config):
            return term() if callable(term) else term

    return Own()


# In a method


def test_each_side_of_the_plus_may_be_ones_own():
    mine = (Weighted(), Tether())
    for method, views in (("wga", ("forget",)), ("wga+kl", ("forget", "retain")), ("me+twice", ("forget", "retain"))):
        bound = objective(method, ObjectiveConfig(), mine)
        assert (bound.name, bound.views) == (method, views)
    assert objective("WGA + Twice", ObjectiveConfig(), mine).name == "wga+twice"
    assert objective("ga+gd", ObjectiveConfig(), mine) == objective("ga+gd", ObjectiveConfig())


@pytest.mark.parametrize("method", ["twice", "twice+gd", "me+wga", "wga+", "wga+gd+kl"])
def test_each_has_its_side(method):
    with pytest.raises(EffaceError, match="unknown method"):
        objective(method, ObjectiveConfig(), (Weighted(), Tether()))


def test_own_names_are_among_those_suggested():
    with pytest.raises(EffaceError, match=re.escape("did you mean 'wga+gd'? allowed: ")):
        objective("wgaa+gd", ObjectiveConfig(), (Weighted(),))
    with pytest.raises(EffaceError) as refused:
        objective("wgaa+gd", ObjectiveConfig())
    assert "wga+gd'" not in str(refused.value).partition(";")[2]


@pytest.mark.parametrize("max_tokens_per_forward", [None, 1])
def test_values_and_gradients_on_the_path_that_training_uses(max_tokens_per_forward):
    """Against the model's own forward: the mean over all answer tokens, weights without a gradient."""
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "model", dtype=torch.float64)
    items = [TokenizedSequence(str(n), [5 + n, 9, 4], list(range(20, 20 + length))) for n, length in enumerate((3, 8))]
    bound = objective("wga+twice", ObjectiveConfig(beta=0.5), (Weighted(), Tether()))
    examples = [{"forget": item, "retain": item} for item in items]
    result = batch_losses(model, bound, examples, Reference(), max_tokens_per_forward=max_tokens_per_forward)
    logp = torch.cat([_logprobs(model, item) for item in items])
    weighted = (logp.detach().exp().sqrt() * logp).mean()
    assert result.forget.item() == pytest.approx(weighted.item(), rel=1e-9)
    assert result.retain.item() == pytest.approx(-2 * logp.mean().item(), rel=1e-9)
    weight = model.lm_head.weight
    [found] = torch.autograd.grad(result.forget, weight, retain_graph=True)
    [expected] = torch.autograd.grad(weighted, weight)
    torch.testing.assert_close(found, expected)


def _logprobs(model, item):
    logits = model(torch.tensor([item.prompt + item.answer])).logits[0, len(item.prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(item.answer)[:, None])[:, 0]


# Terms that cannot be used


def over(positions="all", average="tokens"):
    return DistributionTerm(
        "forget", lambda logits_NV: logits_NV[:, 0], positions=positions, reference=False, average=average
    )


@pytest.mark.parametrize(
    ("term", "sentence"),
    [
        (lambda: 1 / 0, "objective 'own': its method term failed (ZeroDivisionError: division by zero); correct it"),
        (None, "objective 'own': its method term gave NoneType; let it return a TokenTerm, a SequenceTerm or a Distr"),
        (TokenTerm("forgt", len), "objective 'own' reads ('forgt',); allowed are one or more of forget, forget_idk"),
        (SequenceTerm("forget", len, reference=False), "objective 'own' reads 'forget'; allowed are one or more"),
        (SequenceTerm((), len, reference=False), "objective 'own' reads (); allowed are one or more of forget"),
        (over(positions="prompt"), "objective 'own': positions='prompt'; allowed: answer, all"),
        (over(average="mean"), "objective 'own': average='mean'; allowed: tokens, sequences, padded"),
        (over(average="padded"), "objective 'own': average='padded' needs padded_length, such as 500"),
    ],
)
def test_a_term_that_cannot_be_used(term, sentence):
    with pytest.raises(EffaceError, match=re.escape(sentence)) as refused:
        objective("own", ObjectiveConfig(), (own(term),))
    assert "\n" not in str(refused.value)


# Losses that cannot be used


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda x: x.mean(), "gave a tensor of shape [] for 3 rows; let it return one number a row, shape [3]"),
        (lambda x: x[:1], "gave a tensor of shape [1] for 3 rows"),
        (lambda x: 0.5, "gave float for 3 rows"),
        (lambda x: x.detach() ** 2, "no gradient reaches the model; use detach() only on a part"),
        (lambda x: (x - 5).log(), "is not finite for ordinary input ([nan, nan, nan])"),
        (lambda x, y: x, "it failed on 3 rows (TypeError: "),
    ],
)
def test_a_loss_that_cannot_be_used(loss, sentence):
    bound = objective("own+gd", ObjectiveConfig(), (own(TokenTerm("forget", loss)),))
    with pytest.raises(EffaceError, match=re.escape("method own+gd, forget loss: ")) as refused:
        check_custom_objective(bound, vocabulary=11, device=CPU)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_losses_are_tried_on_what_training_would_give_them():
    seen = []

    def watched(*inputs):
        seen.append([tuple(each.shape) for each in inputs])
        return inputs[0].reshape(3, -1)[:, 0]

    pair = SequenceTerm(("forget_idk", "forget"), watched, reference=True)
    whole = DistributionTerm("retain", watched, positions="all", reference=True)
    for term in (TokenTerm("forget", watched), pair, whole):
        check_custom_objective(objective("own", ObjectiveConfig(), (own(term),)), vocabulary=7, device=CPU)
    assert seen == [[(3,)], [(3,)] * 4, [(3, 7)] * 2]


@pytest.mark.parametrize("method", METHODS)
def test_no_built_in_loss_would_be_refused(method):
    check_custom_objective(objective(method, ObjectiveConfig()), vocabulary=7, device=CPU)
