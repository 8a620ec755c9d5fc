"""The words of a record are fixed, and claim nothing that was not measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from efface.evidence import statement
from efface.evidence.statement import ACTIONS, MEANING, TEXTS

CLAIMS = re.compile(r"proof|prove[ns]|certif|erased|erasure|complian|guarantee", re.IGNORECASE)
ROOT = Path(__file__).parents[2]


def test_no_word_claims_more_than_was_measured(efface):
    wording = [MEANING, TEXTS, *ACTIONS.values(), *ACTIONS, efface("purge", "--help").stdout]
    wording += [efface("record", *command, "--help").stdout for command in ([], ["make"], ["verify"], ["key"])]
    wording += [path.read_text(encoding="utf-8") for path in Path(statement.__file__).parent.glob("*.py")]
    wording += [(ROOT / "docs" / "deletion.md").read_text(encoding="utf-8")]
    assert all(wording)
    assert not [match[0] for text in wording for match in CLAIMS.finditer(text)]


@pytest.mark.parametrize("text", ["what the tool measured", "may remain in the model", "for the reader to decide"])
def test_the_limits_are_in_the_record(text):
    assert text in MEANING
