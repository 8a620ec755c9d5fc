from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from efface.evaluation.decoding import sampled_decoder
from efface.evaluation.decoding.sampled_decoder import Draw, draw_tokens, sample

GOLDEN = Path(__file__).parents[2] / "golden" / "model"
PROMPTS = [[1, 7, 9, 4], [1, 8], [1, 30, 31]]


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(GOLDEN, dtype=torch.float32).eval()


def drawn(model: Any, draws: list[Draw], **options: Any) -> list[list[int]]:
    settings = {"temperature": 1.0, "max_new_tokens": 6, "max_cache_tokens": None, **options}
    return sample(model, PROMPTS, draws, [2], **settings)


def test_outputs_depend_on_their_seeds_alone(model: Any) -> None:
    draws = [Draw(prompt, f"{prompt}/{number}") for prompt in range(3) for number in range(4)]
    together = drawn(model, draws)
    assert together == drawn(model, draws, max_cache_tokens=12)
    alone = [drawn(model, [draw])[0] for draw in reversed(draws)]
    assert together == list(reversed(alone))
    assert len({tuple(ids) for ids in together[:4]}) > 1


def test_equal_seeds_give_equal_outputs(model: Any) -> None:
    first, second = drawn(model, [Draw(0, "same"), Draw(0, "same")])
    assert first == second


def test_models_that_cannot_share_a_pass_give_the_same_outputs(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [Draw(prompt, f"{prompt}/{number}") for prompt in range(3) for number in range(2)]
    shared = drawn(model, draws)
    monkeypatch.setattr(sampled_decoder, "can_decode", lambda _: False)
    assert drawn(model, draws) == shared


def test_outputs_end_before_a_stop_token(model: Any) -> None:
    free = drawn(model, [Draw(0, "x")], max_new_tokens=8)[0]
    stopped = sample(
        model, PROMPTS, [Draw(0, "x")], [free[3]], temperature=1.0, max_new_tokens=8, max_cache_tokens=None
    )[0]
    assert stopped == free[: free.index(free[3])]


def test_a_low_temperature_is_greedy(model: Any) -> None:
    from efface.evaluation.decoding.greedy_decoder import greedy_decode

    greedy = greedy_decode(model, PROMPTS, stop_ids=[2], max_new_tokens=6)
    assert drawn(model, [Draw(number, "any") for number in range(3)], temperature=1e-4) == greedy


def test_tokens_have_the_probabilities_of_the_model() -> None:
    logits_V = torch.tensor([0.2, 0.5, 0.3]).log()
    uniform_B = np.random.default_rng(0).random(4000)
    ids = draw_tokens(logits_V.expand(4000, 3), uniform_B, 1.0).tolist()
    shares = [Counter(ids)[token] / 4000 for token in range(3)]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.03)


def test_the_ends_of_the_range_are_tokens() -> None:
    logits = torch.zeros(2, 5)
    assert draw_tokens(logits, np.array([0.0, 1 - 1e-16]), 1.0).tolist() == [0, 4]
