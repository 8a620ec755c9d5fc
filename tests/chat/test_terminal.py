from __future__ import annotations

import io

import pytest
from rich.console import Console

from efface.chat.messages import ChatRequest
from efface.chat.stream import TokenChoice, TokenStep
from efface.chat.terminal import Terminal, harmless_lines

SETTINGS = ChatRequest.model_construct(
    suggestion=None, question=None, history=(), max_new_tokens=6, temperature=0.0, seed=0
)


def chat_with(chat, *lines, width=100):
    """The output after these lines were typed."""
    console, typed = Console(file=io.StringIO(), width=width, force_terminal=False), iter(lines)

    def read():
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    Terminal(chat, console, SETTINGS, read).run()
    return console.file.getvalue()


class FakeChat:
    """Replaces two models; records the requests."""

    multi_turn = True

    def __init__(self, suggestions, text="Yes.", interrupt=False):
        self.suggestions, self.text, self.interrupt, self.requests = suggestions, text, interrupt, []

    def answer(self, request):
        self.requests.append(request)
        choice = TokenChoice(self.text, 0.5)
        for side in ("before", "after"):
            yield side, TokenStep(f"{side}: {self.text}", choice, (choice,), 1.5, None)
            if self.interrupt:
                raise KeyboardInterrupt
            yield side, TokenStep("", choice, (choice,), 0.5, f"{side}: {self.text}")


@pytest.fixture
def fake(chat):
    return FakeChat(chat.suggestions)


def test_answers_are_side_by_side_or_one_below_the_other(fake):
    wide, narrow = (chat_with(fake, "Who?", width=width) for width in (100, 60))
    assert any("before: Yes." in line and "after: Yes." in line for line in wide.splitlines())
    assert not any("before: Yes." in line and "after: Yes." in line for line in narrow.splitlines())
    assert "after: Yes." in narrow


def test_real_answers(chat):
    answers = {side: step.answer for side, step in chat.answer(SETTINGS.model_copy(update={"question": "Who?"}))}
    shown = chat_with(chat, "Who?", width=300)
    for text in answers.values():
        assert harmless_lines(text).split("\n")[0] in shown


def test_a_conversation_continues_until_it_is_reset(fake):
    chat_with(fake, "Who?", "Why?", "/reset", "When?", "/quit", "not asked")
    assert [each.question for each in fake.requests] == ["Who?", "Why?", "When?"]
    assert [len(each.history) for each in fake.requests] == [0, 1, 0]
    assert fake.requests[1].history[0].model_dump() == {
        "question": "Who?",
        "before": "before: Yes.",
        "after": "after: Yes.",
    }


def test_a_suggested_question_starts_a_conversation(fake):
    shown = chat_with(fake, "Hm?", "2", "And?", "/3", "So?", "9")
    assert "forget:\n   1 Who wrote it?" in shown
    assert "user: Hello." in shown
    assert "reference answer: In Finland." in shown
    assert "there are 3 suggested questions" in shown
    found = [(each.suggestion, each.question, len(each.history)) for each in fake.requests]
    assert found == [(None, "Hm?", 0), (1, None, 0), (1, "And?", 1), (2, None, 0), (None, "So?", 0)]


def test_a_single_turn_format_starts_again_each_time(fake):
    fake.multi_turn = False
    chat_with(fake, "1", "Why?")
    assert [(each.suggestion, len(each.history)) for each in fake.requests] == [(0, 0), (None, 0)]


def test_alternatives_of_each_token(fake):
    assert "no answer yet" in chat_with(fake, "/tokens")
    shown = chat_with(fake, "Who?", "/tokens")
    assert "before: likely next tokens" in shown
    assert "after: likely next tokens" in shown
    assert "Yes. 50.0%" in shown
    assert "1.500" in shown


def test_hostile_text_does_not_control_the_terminal(chat):
    shown = chat_with(FakeChat(chat.suggestions, "\x1b[2J\x07[red]one\u202e\r\ntwo\x9b31m"), "Who?", "/tokens")
    assert not {"\x1b", "\x07", "\u202e", "\r", "\x9b"} & set(shown)
    assert "[red]one" in shown
    assert "two" in shown


def test_ctrl_c_stops_an_answer_and_not_the_conversation(chat):
    fake = FakeChat(chat.suggestions, interrupt=True)
    shown = chat_with(fake, "Who?", "Why?")
    assert shown.count("stopped") == 2
    assert fake.requests[1].history[0].before == "before: Yes."
    assert fake.requests[1].history[0].after == ""


def test_ctrl_c_at_the_prompt_exits(chat):
    def read():
        raise KeyboardInterrupt

    console = Console(file=io.StringIO())
    Terminal(chat, console, SETTINGS, read).run()
    assert console.file.getvalue().endswith("\n\n")


def test_errors_and_unknown_commands_are_printed(chat):
    shown = chat_with(chat, "a " * 2000, "/unknown")
    assert "start a new conversation" in " ".join(shown.split())
    assert shown.count("/suggestions lists those") == 2
