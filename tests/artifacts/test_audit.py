from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.artifacts import Results, Scores
from efface.artifacts.audit import AuditResults
from support.audit_results import results


def test_results_are_read_as_they_were_written() -> None:
    found = results()
    assert AuditResults.model_validate_json(found.model_dump_json()) == found


def test_a_run_has_them_only_once_it_was_audited(scores: Scores) -> None:
    run = Results(definition="paper", method="me+gd", before=scores, after=scores)
    assert "audit" not in run.to_json()
    audited = run.model_copy(update={"audit": results()})
    assert audited.to_json()["audit"]["recoverable"]["k"] == 11
    assert Results.model_validate(audited.to_json()).audit == results()


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        AuditResults.model_validate({**results().model_dump(), "erased": True})


@pytest.mark.parametrize("changes", [{"n": 0}, {"k": -1}])
def test_a_share_of_no_facts_is_refused(changes: dict[str, int]) -> None:
    values = results().model_dump()
    values["recoverable"] |= changes
    with pytest.raises(ValidationError):
        AuditResults.model_validate(values)
