from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.chat.messages import ChatRequest
from efface.chat.stream import TokenChoice, TokenStep
from efface.chat.terminal import Terminal, harmless

SETTINGS = ChatRequest.model_construct(
    preset=None, question=None, earlier=(), max_new_tokens=6, temperature=0.0, seed=0
)


def talk(chat, *words, width=100):
    """What is on the screen once these lines were typed."""
    console, typed = Console(file=io.StringIO(), width=width, force_terminal=False), iter(words)

    def read():
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    Terminal(chat, console, SETTINGS, read).talk()
    return console.file.getvalue()


class Heard:
    """Stands for two models; remembers what they were asked."""

    keeps_turns = True

    def __init__(self, presets, text="Yes.", interrupt=False):
        self.presets, self.text, self.interrupt, self.asked = presets, text, interrupt, []

    def ask(self, asked):
        self.asked.append(asked)
        choice = TokenChoice(self.text, 0.5)
        for side in ("before", "after"):
            yield side, TokenStep(f"{side} says {self.text}", choice, (choice,), 1.5, None)
            if self.interrupt:
                raise KeyboardInterrupt
            yield side, TokenStep("", choice, (choice,), 0.5, f"{side} says {self.text}")


@pytest.fixture
def heard(talking):
    return Heard(talking.presets)


def test_both_answers_stand_side_by_side_or_below_each_other(heard):
    wide, narrow = (talk(heard, "Who?", width=width) for width in (100, 60))
    assert any("before says Yes." in line and "after says Yes." in line for line in wide.splitlines())
    assert not any("before says Yes." in line and "after says Yes." in line for line in narrow.splitlines())
    assert "after says Yes." in narrow


def test_real_answers(talking):
    said = {side: step.answer for side, step in talking.ask(SETTINGS.model_copy(update={"question": "Who?"}))}
    shown = talk(talking, "Who?", width=300)
    for whole in said.values():
        assert harmless(whole).split("\n")[0] in shown


def test_a_conversation_goes_on_until_it_is_reset(heard):
    talk(heard, "Who?", "Why?", "/reset", "When?", "/quit", "never asked")
    assert [each.question for each in heard.asked] == ["Who?", "Why?", "When?"]
    assert [len(each.earlier) for each in heard.asked] == [0, 1, 0]
    assert heard.asked[1].earlier[0].model_dump() == {
        "question": "Who?",
        "before": "before says Yes.",
        "after": "after says Yes.",
    }


def test_presets_begin_a_conversation(heard):
    shown = talk(heard, "Hm?", "2", "And?", "/3", "So?", "9")
    assert "forget:\n   1 Who wrote it?" in shown
    assert "user: Hello." in shown
    assert "right answer: In Finland." in shown
    assert "there are 3 preset questions" in shown
    found = [(each.preset, each.question, len(each.earlier)) for each in heard.asked]
    assert found == [(None, "Hm?", 0), (1, None, 0), (1, "And?", 1), (2, None, 0), (None, "So?", 0)]


def test_a_format_without_turns_begins_anew_each_time(heard):
    heard.keeps_turns = False
    talk(heard, "1", "Why?")
    assert [(each.preset, len(each.earlier)) for each in heard.asked] == [(0, 0), (None, 0)]


def test_what_else_might_have_come(heard):
    assert "no answer yet" in talk(heard, "/tokens")
    shown = talk(heard, "Who?", "/tokens")
    assert "before: likely next tokens" in shown
    assert "after: likely next tokens" in shown
    assert "Yes. 50.0%" in shown
    assert "1.500" in shown


def test_hostile_words_do_not_steer_the_terminal(talking):
    shown = talk(Heard(talking.presets, "\x1b[2J\x07[red]one\u202e\r\ntwo\x9b31m"), "Who?", "/tokens")
    assert not {"\x1b", "\x07", "\u202e", "\r", "\x9b"} & set(shown)
    assert "[red]one" in shown
    assert "two" in shown


def test_ctrl_c_stops_an_answer_and_not_the_conversation(talking):
    heard = Heard(talking.presets, interrupt=True)
    shown = talk(heard, "Who?", "Why?")
    assert shown.count("stopped") == 2
    assert heard.asked[1].earlier[0].before == "before says Yes."
    assert heard.asked[1].earlier[0].after == ""


def test_ctrl_c_at_a_question_ends(talking):
    def read():
        raise KeyboardInterrupt

    console = Console(file=io.StringIO())
    Terminal(talking, console, SETTINGS, read).talk()
    assert console.file.getvalue().endswith("\n\n")


def test_what_cannot_be_answered_is_said(talking):
    shown = talk(talking, "a " * 2000, "/unknown")
    assert "start a new conversation" in " ".join(shown.split())
    assert shown.count("/presets lists those") == 2
