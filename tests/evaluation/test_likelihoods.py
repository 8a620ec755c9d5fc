from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.evaluation.encode import encode_questions
from efface.evaluation.likelihoods import likelihoods
from efface.schema import Item, Prompt
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter

FULL = Item(
    id="full",
    question="Who wrote it?",
    answer="A poet wrote it.",
    paraphrased_answer="It was a poet.",
    perturbed_answers=("A farmer wrote it.", "It was the king himself."),
)
BARE = Item(id="bare", question="Where?", answer="As the model puts it, a town.", golden_answer="A town.")


def alone(model, formatter, question, answer):
    (encoded,) = formatter.encode([("x", Prompt(question), answer)])
    with torch.no_grad():
        logp_TV = model(torch.tensor([encoded.prompt + encoded.answer])).logits[0].log_softmax(-1)
    start = len(encoded.prompt) - 1
    return [float(logp_TV[start + place, id_]) for place, id_ in enumerate(encoded.answer)]


@pytest.mark.parametrize("max_tokens_per_forward", [1, 10_000])
def test_every_answer_gets_its_logprobs(model, formatter, max_tokens_per_forward):
    full, bare = likelihoods(
        model, encode_questions(formatter, [FULL, BARE]), max_tokens_per_forward=max_tokens_per_forward
    )
    assert full.answer == pytest.approx(alone(model, formatter, FULL.question, FULL.answer), abs=1e-5)
    assert full.paraphrased == pytest.approx(alone(model, formatter, FULL.question, FULL.paraphrased_answer), abs=1e-5)
    assert len(full.perturbed) == 2
    for logprobs, answer in zip(full.perturbed, FULL.perturbed_answers, strict=True):
        assert logprobs == pytest.approx(alone(model, formatter, FULL.question, answer), abs=1e-5)
    assert bare.answer == pytest.approx(alone(model, formatter, BARE.question, "A town."), abs=1e-5)
    assert bare.paraphrased is None
    assert bare.perturbed == []


def test_answers_that_share_a_token_with_the_prompt_are_scored_from_the_next_one(model, formatter):
    """Beside answers to the same question that share none, in one batch: by the joint ids, as published."""
    tokenizer = formatter.tokenizer
    item = Item(id="x", question="Who?", answer="he poet.", paraphrased_answer="12.", perturbed_answers=("heir.",))

    def logprobs(boundary):
        at = PromptFormatter(tokenizer, TextConfig(format="{question} t{answer}", boundary=boundary))
        [found] = likelihoods(model, encode_questions(at, [item]), max_tokens_per_forward=10_000)
        return [found.answer, found.paraphrased, *found.perturbed]

    own = tokenizer("Who? t").input_ids
    expected = []
    for answer in ("he poet.", "12.", "heir."):
        ids = [*tokenizer("Who? t" + answer).input_ids, tokenizer.eos_token_id]
        with torch.no_grad():
            logp_TV = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected.append([float(logp_TV[place - 1, ids[place]]) for place in range(len(own) - 1, len(ids))])
    counted = [expected[0], expected[1][1:], expected[2]]
    for found, values in zip(logprobs("joint-counted"), counted, strict=True):
        assert found == pytest.approx(values, abs=1e-5)
    for found, values in zip(logprobs("joint"), expected, strict=True):
        assert found == pytest.approx(values[1:], abs=1e-5)
    assert logprobs("separate")[1] == pytest.approx(expected[1][1:], abs=1e-5)


def test_progress_is_the_share_of_the_answers(model, formatter):
    items = tuple(Item(id=str(n), question=f"Where is town {n}?", answer=f"In the north, {n}.") for n in range(4))
    questions = encode_questions(formatter, items)
    shares = []
    likelihoods(model, questions, max_tokens_per_forward=40, progress=shares.append)
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_log_probabilities_that_are_not_finite_are_refused(model, formatter):
    model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(EffaceError, match=r"'A poet wrote it.' of item 'full'.*float32"):
        likelihoods(model, encode_questions(formatter, [FULL]), max_tokens_per_forward=1000)
