"""Whatever finite numbers a model gives, scores stay in [0, 1] and do not depend on the order of questions."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from efface.artifacts import Record
from efface.scores import DEFINITIONS, score_records

logprob = st.one_of(st.floats(-30.0, 0.0), st.floats(-1e38, 1e-4), st.sampled_from([0.0, -750.0, -1e39]))
logprobs = st.lists(logprob, min_size=1, max_size=4)
cosine = st.floats(-1.0, 1.0)
words = st.lists(st.sampled_from(["oslo", "was", "born", "1985", "!"]), max_size=5).map(" ".join)
fields = st.fixed_dictionaries(
    {
        "output": words,
        "output_token_ids": st.lists(st.integers(0, 5), max_size=8),
        "answer_logprobs": logprobs,
        "paraphrased_logprobs": st.none() | logprobs,
        "perturbed_logprobs": st.lists(logprobs, max_size=4),
        "cosine_answer": st.none() | cosine,
        "cosine_before": cosine,
        "entailment_label": st.sampled_from(["entailment", "neutral"]),
    }
)
sets = st.dictionaries(
    st.sampled_from(["retain", "real_authors", "world_facts", "forget"]),
    st.lists(fields, min_size=1, max_size=4),
    min_size=1,
)


@given(sets=sets, name=st.sampled_from(sorted(DEFINITIONS)), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_bounds_and_order(
    make_record: Callable[..., Record], sets: dict[str, list[dict[str, Any]]], name: str, seed: int
) -> None:
    records = {
        set_name: [make_record(set=set_name, id=str(i), **row) for i, row in enumerate(rows)]
        for set_name, rows in sets.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_records(records, name)
    body = scores.model_dump()
    numbers = [body["model_utility"], body["model_utility_retain"], body["forget_efficacy"]]
    numbers += [body["partial"][key] for key in ("model_utility", "model_utility_retain", "forget_efficacy")]
    for row in body["sets"].values():
        row.pop("n")
        numbers += row.values()
    assert all(number is None or 0 <= number <= 1 for number in numbers)
    json.dumps(body, allow_nan=False)

    for key in ("model_utility", "model_utility_retain", "forget_efficacy"):
        assert (body[key] is None) == (key in body["missing"])

    shuffled = {set_name: random.Random(seed).sample(rows, len(rows)) for set_name, rows in reversed(records.items())}
    again = score_records(shuffled, name)
    assert (again.sets, again.partial) == (scores.sets, scores.partial)
    assert again.model_utility == scores.model_utility
