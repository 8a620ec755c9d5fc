"""The page in a real browser: it streams, continues a conversation, shows tokens, and runs no model output."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from efface.chat.server import ChatServer
from efface.chat.stream import TokenChoice, TokenStep
from efface.chat.suggestions import SuggestedQuestion
from efface.schema import Prompt
from support.browser import OpenedPage, chromium

pytestmark = pytest.mark.browser

FACTS = {"facts": "a <b>run</b>", "max_new_tokens": 5, "temperature": 0, "seed": 0}
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "\x1b[31mred\x1b[0m \x00",
    "\u202eturned around\u2067 שלום",
    "a" * 100_000,
)


class FakeChat:
    """Replaces two models; answers every question with the same words."""

    multi_turn = True

    def __init__(self, words: tuple[str, ...], pause: float = 0) -> None:
        self.suggestions = (
            SuggestedQuestion("forget", Prompt(f"Who? {HOSTILE[0]}"), "Ada."),
            SuggestedQuestion("general", Prompt("Why?"), None),
        )
        self.words, self.pause, self.requests = words, pause, list[Any]()

    def answer(self, request: Any) -> Iterator[Any]:
        self.requests.append(request)
        for place, word in enumerate(self.words, 1):
            time.sleep(self.pause)
            choice = TokenChoice(word[:100], 0.125)
            whole = "".join(self.words) if place == len(self.words) else None
            for side in ("before", "after"):
                yield side, TokenStep(word, choice, (choice,), 1.5, whole)

    def wait_until_idle(self) -> None:
        pass


class Opened(OpenedPage):
    """The page of a conversation."""

    def __init__(self, browser: Any, server: ChatServer, **options: Any) -> None:
        super().__init__(browser, server.url, **options)
        self.page.wait_for_selector("#suggestions button", state="attached")
        self.status = self.page.locator("#status")

    def suggestion(self, number: int = 0) -> None:
        self.page.locator("#suggestions button").nth(number).dispatch_event("click")

    def until(self, words: str) -> None:
        self.status.filter(has_text=words).wait_for()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def fake() -> FakeChat:
    return FakeChat(("Yes", ", ", "indeed."))


@pytest.fixture
def server(fake: FakeChat) -> Iterator[ChatServer]:
    server = ChatServer(fake, FACTS, host="127.0.0.1", port=0)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_conversation(browser: Any, server: ChatServer, fake: FakeChat) -> None:
    opened = Opened(browser, server)
    opened.suggestion()
    opened.until("Both answers are complete.")
    assert opened.page.locator(".side .message").all_inner_texts() == ["Yes, indeed."] * 2
    assert "Reference answer: Ada." in opened.page.inner_text("#log")
    opened.page.fill("#question", "And then?")
    opened.page.press("#question", "Enter")
    opened.page.locator(".pair").nth(1).wait_for()
    opened.until("Both answers are complete.")
    opened.page.locator(".side summary").first.click()
    opened.page.locator("tbody tr").nth(2).wait_for()  # rows come with the event that the click leads to
    assert opened.page.locator("tbody tr").count() == 3
    assert "1.500" in opened.page.inner_text("tbody")
    assert "12.5%" in opened.page.inner_text("tbody")
    first, second = fake.requests
    assert (first.suggestion, first.question, first.history) == (0, None, ())
    assert (second.suggestion, second.question) == (0, "And then?")
    assert [(each.before, each.after) for each in second.history] == [("Yes, indeed.", "Yes, indeed.")]
    opened.page.click("#reset")
    assert opened.page.locator(".pair").count() == 0
    opened.page.fill("#question", "Again?")
    opened.page.click("#ask")
    opened.until("Both answers are complete.")
    assert (fake.requests[2].suggestion, fake.requests[2].history) == (None, ())
    assert opened.said == []
    assert all(url.startswith(server.url) or url.startswith("data:") for url in opened.asked)


@pytest.mark.parametrize(("width", "height"), [(1200, 800), (390, 700)])
def test_suggestions_fold_and_answer_and_input_are_in_view(
    browser: Any, server: ChatServer, width: int, height: int
) -> None:
    opened = Opened(browser, server, viewport={"width": width, "height": height})
    opened.page.evaluate("document.querySelectorAll('#suggestions details').forEach((each) => { each.open = true; })")
    for number in range(1, 4):
        opened.page.fill("#question", f"Question {number}?")
        opened.page.press("#question", "Enter")
        opened.page.locator(".pair").nth(number - 1).wait_for()
        opened.until("Both answers are complete.")
        assert opened.page.locator("#suggestions details[open]").count() == 0
        form, side = (opened.page.locator(each).last.bounding_box() for each in ("#form", ".side"))
        assert 0 <= side["y"] < side["y"] + side["height"] <= form["y"] + 1
        assert form["y"] + form["height"] == pytest.approx(height, abs=16)


@pytest.mark.parametrize("width", [1200, 390])
def test_hostile_text_neither_runs_nor_breaks_the_page(
    browser: Any, server: ChatServer, fake: FakeChat, width: int
) -> None:
    fake.words = HOSTILE
    opened = Opened(browser, server, viewport={"width": width, "height": 800})
    opened.suggestion()
    opened.until("Both answers are complete.")
    opened.page.locator(".side summary").first.click()
    assert opened.page.locator("#log script, #log img, #log b, #suggestions script, header b").count() == 0
    assert opened.page.title() == "Before and after: efface chat"
    assert HOSTILE[0] in opened.page.locator(".side .message").first.text_content()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.said == []


def test_stopping_keeps_the_text_so_far(browser: Any, server: ChatServer, fake: FakeChat) -> None:
    fake.words, fake.pause = ("word ",) * 5000, 0.02
    opened = Opened(browser, server)
    opened.suggestion()
    opened.page.locator(".side.after .message", has_text="word word").wait_for()
    opened.page.click("#stop")
    opened.until("Stopped.")
    fake.words = ("Yes.",)
    opened.page.fill("#question", "And then?")
    opened.page.press("#question", "Enter")
    opened.until("Both answers are complete.")
    assert fake.requests[1].history[0].before.startswith("word word")


def test_a_server_that_is_gone_is_reported(browser: Any, server: ChatServer, fake: FakeChat) -> None:
    fake.words, fake.pause = ("word ",) * 5000, 0.02
    opened = Opened(browser, server)
    opened.suggestion()
    opened.page.locator(".side.after .message", has_text="word word").wait_for()
    server.stopping.set()
    opened.until("no longer responds")
