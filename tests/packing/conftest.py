"""Tiny random models, and sequences of very different lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from efface.text.sequence import TokenizedSequence
from support.sizes import DENSE

VOCABULARY = 97


def _random_model(config: Any) -> Any:
    """A model in evaluation mode with weights so large that a leak between sequences is visible."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)  # vectors keep their initial values, which are random in state-space models
        model = AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model


@pytest.fixture(scope="session")
def random_model() -> Callable[[Any], Any]:
    return _random_model


@pytest.fixture
def llama() -> Any:
    from transformers import LlamaConfig

    return _random_model(LlamaConfig(vocab_size=VOCABULARY, **DENSE))


@pytest.fixture(scope="session")
def uneven() -> list[TokenizedSequence]:
    """Sequences of 2 to 40 tokens; prompts of one token, so that every position but the first is scored."""
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(3, VOCABULARY, (n,), generator=generator).tolist() for n in (2, 23, 7, 40, 2, 12)]
    return [TokenizedSequence(str(index), each[:1], each[1:]) for index, each in enumerate(ids)]


@pytest.fixture(scope="session")
def related(uneven: list[TokenizedSequence]) -> list[TokenizedSequence]:
    """Sequences with common prefixes, and others between them."""
    question, other = uneven[3].answer[:9], [*uneven[3].answer[:4], 5, 6]
    answer, wrong = uneven[1].answer[:12], [*uneven[1].answer[:3], 7, 8, 9]
    return [
        uneven[2],
        TokenizedSequence("right", question, answer),
        TokenizedSequence("refusal", question, [4, 5]),
        TokenizedSequence("other question", other, answer),
        TokenizedSequence("wrong", question, wrong),
        TokenizedSequence("cut short", question, answer[:5]),
        TokenizedSequence("again", question, answer),
        TokenizedSequence("another boundary", [*question, *answer[:2]], answer[2:]),
        uneven[0],
    ]


@pytest.fixture(scope="session")
def one_by_one() -> Callable[[Any, list[TokenizedSequence]], list[torch.Tensor]]:
    """Log-probs of each answer token from the model's forward and attention, one sequence at a time."""

    def logprobs(model: Any, items: list[TokenizedSequence]) -> list[torch.Tensor]:
        result = []
        for item in items:
            ids = torch.tensor([item.prompt + item.answer], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0, len(item.prompt) - 1 : -1]
            logp = logits.log_softmax(-1) if logits.dtype == torch.float64 else logits.float().log_softmax(-1)
            result.append(logp.gather(1, ids[0, len(item.prompt) :, None])[:, 0])
        return result

    return logprobs
