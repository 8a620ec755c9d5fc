"""results.json: what is written is read, and what is not of this version is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.artifacts import ContinualResults, Results


@pytest.fixture
def results(scores):
    return Results(definition="closer-look", method="ga", before=scores, after=scores)


def test_results_omit_what_was_not_requested(results):
    written = results.to_json()
    assert list(written) == ["schema", "definition", "method", "before", "after"]
    assert Results.model_validate(written) == results


@pytest.mark.parametrize("change", [{"schema": 2}, {"unknown": 1}])
def test_results_of_another_schema_are_refused(results, change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        Results.model_validate({**results.to_json(), **change})


def test_a_queue_omits_what_was_not_requested(scores):
    queue = ContinualResults(
        definition="closer-look",
        method="ga",
        requests=["one"],
        before=scores,
        after=[scores],
        metrics=["rouge"],
        forget_efficacy=[[0.0, 0.5]],
    )
    assert not {"verdict", "downstream"} & queue.to_json().keys()
    assert ContinualResults.model_validate(queue.to_json()) == queue
