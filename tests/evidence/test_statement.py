"""The words of a record are fixed, and claim nothing that was not measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from efface.evidence import statement
from efface.evidence.statement import ACTIONS, MEANING, PREDICATE_TYPE, TEXTS, Statement

CLAIMS = re.compile(r"proof|prove[ns]|certif|erased|erasure|complian|guarantee", re.IGNORECASE)
ROOT = Path(__file__).parents[2]


def test_no_word_claims_more_than_was_measured(efface):
    wording = [MEANING, TEXTS, *ACTIONS.values(), *ACTIONS, efface("purge", "--help").stdout]
    wording += [efface("record", *command, "--help").stdout for command in ([], ["make"], ["verify"], ["key"])]
    wording += [path.read_text(encoding="utf-8") for path in Path(statement.__file__).parent.glob("*.py")]
    wording += [(ROOT / "docs" / "deletion.md").read_text(encoding="utf-8")]
    assert all(wording)
    assert not [match[0] for text in wording for match in CLAIMS.finditer(text)]


def test_its_type_is_no_address_that_somebody_can_own():
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", PREDICATE_TYPE)
    assert Statement.model_fields["predicate_type"].default == PREDICATE_TYPE
    assert f"`{PREDICATE_TYPE}`" in (ROOT / "docs" / "deletion.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["what the tool measured", "may remain in the model", "for the reader to decide"])
def test_the_limits_are_in_the_record(text):
    assert text in MEANING
