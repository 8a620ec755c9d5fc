from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.chat.messages import ChatRequest, build_prompt
from efface.chat.suggestions import SuggestedQuestion
from efface.errors import EffaceError
from efface.schema import Prompt, Turn

START = (Turn(role="system", content="Be brief."),)
SUGGESTIONS = [SuggestedQuestion("forget", Prompt("Who?", START), None)]
EXCHANGES = [
    {"question": "First?", "before": "One.", "after": " "},
    {"question": "Second?", "before": "Two.", "after": "Zwei."},
]


def request(**fields):
    return ChatRequest.model_validate({"max_new_tokens": 5, **fields})


def turns(prompt):
    return [turn.content for turn in prompt.history]


def test_each_model_gets_its_own_answers_without_empty_ones():
    follow_up = request(question="Third?", history=EXCHANGES)
    before, after = (build_prompt(side, follow_up, [], multi_turn=True) for side in ("before", "after"))
    assert turns(before) == ["First?", "One.", "Second?", "Two."]
    assert turns(after) == ["Second?", "Zwei."]
    assert {before.question, after.question} == {"Third?"}
    assert [turn.role for turn in after.history] == ["user", "assistant"]


def test_a_suggested_question_keeps_its_earlier_turns():
    assert build_prompt("after", request(suggestion=0), SUGGESTIONS, multi_turn=True) == SUGGESTIONS[0].prompt
    follow_up = request(suggestion=0, question="Third?", history=EXCHANGES[1:])
    assert turns(build_prompt("before", follow_up, SUGGESTIONS, multi_turn=True)) == ["Be brief.", "Second?", "Two."]


def test_a_single_turn_format_has_the_question_only():
    follow_up = request(suggestion=0, question="Third?", history=EXCHANGES)
    assert build_prompt("before", follow_up, SUGGESTIONS, multi_turn=False) == Prompt("Third?")


def test_a_suggested_question_that_does_not_exist():
    with pytest.raises(EffaceError, match="no suggested question 1; give an index below 1"):
        build_prompt("before", request(suggestion=1), SUGGESTIONS, multi_turn=True)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"question": "  "},
        {"question": "a" * 8001},
        {"history": EXCHANGES, "suggestion": 0},
        {"question": "a", "max_new_tokens": 0},
        {"question": "a", "max_new_tokens": 1025},
        {"question": "a", "temperature": -1},
        {"question": "a", "temperature": float("nan")},
        {"question": "a", "seed": -1},
        {"suggestion": -1},
        {"question": "a", "more": 1},
    ],
)
def test_refused_requests(fields):
    with pytest.raises(ValidationError):
        request(**fields)
