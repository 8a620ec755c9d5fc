from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.chat.messages import ChatRequest, prompt_for
from efface.chat.suggestions import SuggestedQuestion
from efface.errors import EffaceError
from efface.schema import Prompt, Turn

BEGAN = (Turn(role="system", content="Be brief."),)
PRESETS = [SuggestedQuestion("forget", Prompt("Who?", BEGAN), None)]
EARLIER = [
    {"question": "First?", "before": "One.", "after": " "},
    {"question": "Second?", "before": "Two.", "after": "Zwei."},
]


def asked(**fields):
    return ChatRequest.model_validate({"max_new_tokens": 5, **fields})


def turns(prompt):
    return [turn.content for turn in prompt.history]


def test_each_side_has_its_own_past_without_silence():
    follow_up = asked(question="Third?", earlier=EARLIER)
    before, after = (prompt_for(side, follow_up, [], keeps_turns=True) for side in ("before", "after"))
    assert turns(before) == ["First?", "One.", "Second?", "Two."]
    assert turns(after) == ["Second?", "Zwei."]
    assert {before.question, after.question} == {"Third?"}
    assert [turn.role for turn in after.history] == ["user", "assistant"]


def test_a_preset_is_asked_as_it_was_scored_and_stays_the_beginning():
    assert prompt_for("after", asked(preset=0), PRESETS, keeps_turns=True) == PRESETS[0].prompt
    follow_up = asked(preset=0, question="Third?", earlier=EARLIER[1:])
    assert turns(prompt_for("before", follow_up, PRESETS, keeps_turns=True)) == ["Be brief.", "Second?", "Two."]


def test_a_format_without_turns_asks_the_question_alone():
    follow_up = asked(preset=0, question="Third?", earlier=EARLIER)
    assert prompt_for("before", follow_up, PRESETS, keeps_turns=False) == Prompt("Third?")


def test_a_preset_that_is_not_there():
    with pytest.raises(EffaceError, match="no preset question 1; there are 1"):
        prompt_for("before", asked(preset=1), PRESETS, keeps_turns=True)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"question": "  "},
        {"question": "a" * 8001},
        {"earlier": EARLIER, "preset": 0},
        {"question": "a", "max_new_tokens": 0},
        {"question": "a", "max_new_tokens": 1025},
        {"question": "a", "temperature": -1},
        {"question": "a", "temperature": float("nan")},
        {"question": "a", "seed": -1},
        {"preset": -1},
        {"question": "a", "more": 1},
    ],
)
def test_what_cannot_be_asked(fields):
    with pytest.raises(ValidationError):
        asked(**fields)
