"""Types of the files in a run's folder: what is written is read, and what is not of this version is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.artifacts import METRICS, Partial, Results, Scores, SetScores

SET = SetScores(n=1, **dict.fromkeys(METRICS, 0.5))
SCORES = Scores(
    model_utility=None,
    model_utility_retain=None,
    forget_efficacy=None,
    partial=Partial(model_utility=None, model_utility_retain=None, forget_efficacy=None, metrics=[]),
    missing={},
    embedder=None,
    judge=None,
    sets={"forget": SET},
)


def test_custom_scores_are_written_only_if_there_are_any():
    assert "custom" not in SET.model_dump()
    custom = SET.model_copy(update={"custom": {"length": 3.0}})
    assert custom.model_dump()["custom"] == {"length": 3.0}
    assert SetScores.model_validate(custom.model_dump()) == custom


def test_the_key_of_an_earlier_version_is_read():
    assert SetScores.model_validate({**SET.model_dump(), "own": {"length": 3.0}}).custom == {"length": 3.0}


def test_results_omit_what_was_not_requested():
    results = Results(definition="closer-look", method="ga", before=SCORES, after=SCORES)
    written = results.to_json()
    assert list(written) == ["schema", "definition", "method", "before", "after"]
    assert Results.model_validate(written) == results


@pytest.mark.parametrize("change", [{"schema": 2}, {"unknown": 1}])
def test_results_of_another_schema_are_refused(change):
    written = Results(definition="closer-look", method="ga", before=SCORES, after=SCORES).to_json()
    with pytest.raises(ValidationError, match=next(iter(change))):
        Results.model_validate({**written, **change})
