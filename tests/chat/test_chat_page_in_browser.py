"""The page in a real browser: it streams, keeps a conversation, shows tokens, and runs nothing that a model says."""

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


class Talker:
    """Stands for two models that say the same words to everything."""

    keeps_turns = True

    def __init__(self, words: tuple[str, ...], pause: float = 0) -> None:
        self.presets = (
            SuggestedQuestion("forget", Prompt(f"Who? {HOSTILE[0]}"), "Ada."),
            SuggestedQuestion("beyond", Prompt("Why?"), None),
        )
        self.words, self.pause, self.asked = words, pause, list[Any]()

    def ask(self, asked: Any) -> Iterator[Any]:
        self.asked.append(asked)
        for place, word in enumerate(self.words, 1):
            time.sleep(self.pause)
            choice = TokenChoice(word[:100], 0.125)
            whole = "".join(self.words) if place == len(self.words) else None
            for side in ("before", "after"):
                yield side, TokenStep(word, choice, (choice,), 1.5, whole)

    def wait(self) -> None:
        pass


class Opened(OpenedPage):
    """The page of a conversation."""

    def __init__(self, browser: Any, server: ChatServer, **options: Any) -> None:
        super().__init__(browser, server.url, **options)
        self.page.wait_for_selector("#presets button", state="attached")
        self.status = self.page.locator("#status")

    def preset(self, number: int = 0) -> None:
        self.page.locator("#presets button").nth(number).dispatch_event("click")

    def until(self, words: str) -> None:
        self.status.filter(has_text=words).wait_for(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def talker() -> Talker:
    return Talker(("Yes", ", ", "indeed."))


@pytest.fixture
def server(talker: Talker) -> Iterator[ChatServer]:
    server = ChatServer(talker, FACTS, host="127.0.0.1", port=0)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_conversation(browser: Any, server: ChatServer, talker: Talker) -> None:
    here = Opened(browser, server)
    here.preset()
    here.until("Both answers are whole.")
    assert here.page.locator(".side .said").all_inner_texts() == ["Yes, indeed."] * 2
    assert "Right answer: Ada." in here.page.inner_text("#log")
    here.page.fill("#question", "And then?")
    here.page.press("#question", "Enter")
    here.page.locator(".pair").nth(1).wait_for()
    here.until("Both answers are whole.")
    here.page.locator(".side summary").first.click()
    here.page.locator("tbody tr").nth(2).wait_for()  # rows come with the event that the click leads to
    assert here.page.locator("tbody tr").count() == 3
    assert "1.500" in here.page.inner_text("tbody")
    assert "12.5%" in here.page.inner_text("tbody")
    first, second = talker.asked
    assert (first.preset, first.question, first.earlier) == (0, None, ())
    assert (second.preset, second.question) == (0, "And then?")
    assert [(each.before, each.after) for each in second.earlier] == [("Yes, indeed.", "Yes, indeed.")]
    here.page.click("#reset")
    assert here.page.locator(".pair").count() == 0
    here.page.fill("#question", "Anew?")
    here.page.click("#ask")
    here.until("Both answers are whole.")
    assert (talker.asked[2].preset, talker.asked[2].earlier) == (None, ())
    assert here.said == []
    assert all(url.startswith(server.url) or url.startswith("data:") for url in here.asked)


@pytest.mark.parametrize("width", [1200, 390])
def test_hostile_words_neither_run_nor_break_the_page(
    browser: Any, server: ChatServer, talker: Talker, width: int
) -> None:
    talker.words = HOSTILE
    here = Opened(browser, server, viewport={"width": width, "height": 800})
    here.preset()
    here.until("Both answers are whole.")
    here.page.locator(".side summary").first.click()
    assert here.page.locator("#log script, #log img, #log b, #presets script, header b").count() == 0
    assert here.page.title() == "Before and after: efface chat"
    assert HOSTILE[0] in here.page.locator(".side .said").first.text_content()
    assert here.page.evaluate("document.documentElement.scrollWidth") == width
    assert here.said == []


def test_stopping_keeps_what_was_said(browser: Any, server: ChatServer, talker: Talker) -> None:
    talker.words, talker.pause = ("word ",) * 500, 0.02
    here = Opened(browser, server)
    here.preset()
    here.page.locator(".side.after .said", has_text="word word").wait_for()
    here.page.click("#stop")
    here.until("Stopped.")
    talker.words = ("Yes.",)
    here.page.fill("#question", "And then?")
    here.page.press("#question", "Enter")
    here.until("Both answers are whole.")
    assert talker.asked[1].earlier[0].before.startswith("word word")


def test_a_server_that_is_gone_is_said(browser: Any, server: ChatServer, talker: Talker) -> None:
    talker.words, talker.pause = ("word ",) * 500, 0.02
    here = Opened(browser, server)
    here.preset()
    here.page.locator(".side.after .said", has_text="word word").wait_for()
    server.stopping.set()
    here.until("does not answer any more")
