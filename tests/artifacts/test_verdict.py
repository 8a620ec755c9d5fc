"""A verdict on disk."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.artifacts import AnswerTypes, ForgetVerdict, RetainVerdict, Share, Verdict

NONE = Share(count=0, n=4, low=0.0, high=0.49)
TYPES = AnswerTypes(n=4, right=1, declined=1, made_up=1, silent=1)


def test_what_is_written_is_read():
    verdict = Verdict(
        forget=ForgetVerdict(state="forgot", known_before=4, leaks=NONE, likely=NONE),
        retain=RetainVerdict(state="kept", n=4, kept=Share(count=4, n=4, low=0.51, high=1.0)),
        answers_before={"forget": TYPES},
        answers_after={"forget": TYPES},
    )
    assert Verdict.model_validate(verdict.model_dump(mode="json")) == verdict


@pytest.mark.parametrize("state", ["erased", "proven", ""])
def test_only_the_stated_verdicts_are_read(state):
    with pytest.raises(ValidationError, match="state"):
        ForgetVerdict.model_validate({"state": state, "known_before": 4, "leaks": NONE, "likely": NONE})
