from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.packing.logprobs import answer_numbers, logprobs_and_predicted
from efface.scores.metrics.memorization import exact_memorization, extraction_strength
from efface.text.sequence import TokenizedSequence

PREDICTED = st.lists(st.booleans(), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("predicted", "strength"),
    [("1111", 1.0), ("0111", 0.75), ("1011", 0.5), ("1110", 0.0), ("0", 0.0), ("1", 1.0)],
)
def test_extraction_strength_is_the_share_after_the_last_wrong_token(predicted: str, strength: float) -> None:
    assert extraction_strength([each == "1" for each in predicted]) == strength


@given(PREDICTED)
def test_extraction_strength_by_its_definition(predicted: list[bool]) -> None:
    needed = next(k for k in range(len(predicted) + 1) if all(predicted[k:]))
    assert extraction_strength(predicted) == pytest.approx(1 - needed / len(predicted))
    assert extraction_strength(predicted) <= exact_memorization(predicted) == sum(predicted) / len(predicted)


@given(PREDICTED)
def test_only_the_floor_is_another_in_open_unlearning(predicted: list[bool]) -> None:
    published = extraction_strength(predicted, form="open-unlearning")
    assert published == (extraction_strength(predicted) if predicted[-1] else 1 / len(predicted))


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    folder = Path(__file__).parents[2] / "golden" / "model"
    return AutoModelForCausalLM.from_pretrained(folder).double().eval()


def test_open_unlearnings_numbers(shared: Path, model: Any) -> None:
    stored = json.loads((shared / "golden/open_unlearning/losses_and_metrics.json").read_text())
    golden = stored["metrics"]["memorization"]
    sequences = [
        TokenizedSequence(str(number), row["prompt"], row["answer"]) for number, row in enumerate(golden["rows"])
    ]
    tokens = answer_numbers(model, sequences, logprobs_and_predicted, max_tokens_per_forward=100)
    for number, values in enumerate(tokens):
        predicted = [each == 1 for _, each in values[:-1]]  # open-unlearning leaves the last label out
        strength = golden["extraction_strength"]["value_by_index"][str(number)]["score"]
        assert extraction_strength(predicted, form="open-unlearning") == pytest.approx(strength, abs=1e-6)
        memorized = golden["exact_memorization"]["value_by_index"][str(number)]["score"]
        assert exact_memorization(predicted) == pytest.approx(memorized, abs=1e-6)
        assert extraction_strength(predicted) == pytest.approx(strength if predicted[-1] else 0)
