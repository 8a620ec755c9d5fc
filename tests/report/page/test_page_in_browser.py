"""The page in a real browser: no requests, no foreign code; filters, tabs, themes and the width of a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

from efface.report.page.html import render_page
from efface.report.page.load_run import load_report_run
from support.browser import TIME_LIMIT_MS, OpenedPage, chromium
from support.reports import (
    correct,
    record,
    records,
    write_evaluation,
    write_example_run,
    write_queue,
    write_run,
    write_watched,
    wrong,
)

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "\x1b[31mred\x1b[0m \x00",
    "\u202eturned around\u202e שלום",
    "a" * 100_000,
    "</script><script>document.title='owned'</script>\u2028",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> page."""
    folder = tmp_path_factory.mktemp("pages")
    before = records(forget=(40, correct), retain=(40, correct))
    after = records(
        forget=(40, lambda number: HOSTILE[number - 1] if number <= len(HOSTILE) else wrong(number)),
        retain=(40, correct),
    )
    watched = write_example_run(folder / "run")
    write_watched(watched, 5, 10)
    many = {"retain": [record("retain", number, correct(number % 600)) for number in range(1200)]}
    runs = {
        "one": [write_run(folder / "hostile", before, after)],
        "many": [write_run(folder / "many", many, many)],
        "several": [
            watched,
            write_evaluation(folder / "retrained"),
            write_queue(folder / "queue"),
        ],
    }
    for name, paths in runs.items():
        (folder / f"{name}.html").write_text(
            render_page([load_report_run(path) for path in paths], version="0"), encoding="utf-8"
        )
    return {name: folder / f"{name}.html" for name in runs}


class Page(OpenedPage):
    """A report's page."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        super().__init__(browser, file.as_uri(), **options)
        sync_api = pytest.importorskip("playwright.sync_api")
        loading = self.page.locator("[aria-busy]")  # questions are decompressed
        sync_api.expect(loading).to_have_count(0, timeout=TIME_LIMIT_MS)

    @property
    def rows(self) -> int:
        return int(self.page.locator(".questions tbody tr:visible").count())

    @property
    def count(self) -> str:
        return str(self.page.locator("[aria-live]:visible").inner_text())


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    pages: list[tuple[Page, Path]] = []

    def open_page(name: str, **options: Any) -> Page:
        found = Page(browser, files[name], **options)
        pages.append((found, files[name]))
        return found

    yield open_page
    for found, file in pages:
        assert found.said == []
        assert found.asked in ([file.as_uri()], [file.as_uri(), "data:,"])
        assert "owned" not in found.page.title()
        found.page.close()


def test_hostile_answers_are_shown_as_text(opened: Any) -> None:
    found = opened("one")
    page = found.page
    assert page.locator(".questions img, .questions script").count() == 0
    text = page.locator(".questions").inner_text()
    assert "<img src=x onerror=" in text
    assert "␛[31mred" in text
    assert page.locator(".questions bdi[dir=auto]").count() > 100
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "a" * 701 not in text
    page.get_by_role("button", name="Show all 100,000 characters").click()
    assert "a" * 100_000 in page.locator(".questions").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_filters_search_and_order(opened: Any) -> None:
    found = opened("one")
    page = found.page
    assert found.count == "50 of 80 questions shown"
    page.get_by_role("button", name="Show 50 more").press("Enter")
    page.locator("[aria-live]", has_text="80 of 80 ").wait_for()
    assert found.rows == 80
    page.get_by_role("combobox", name="Set").select_option("retain")
    page.locator("[aria-live]", has_text="40 of 40 questions shown (80 in all)").wait_for()
    page.get_by_role("combobox", name="Set").select_option("")
    page.get_by_role("searchbox").fill("AUTHOR 17 born")
    page.locator("[aria-live]", has_text="2 of 2 ").wait_for()
    page.get_by_role("searchbox").fill("nowhere to be found")
    page.locator("[aria-live]", has_text="No question matches.").wait_for()
    assert found.rows == 0
    page.get_by_role("searchbox").fill("")
    page.locator("[aria-live]", has_text="50 ").wait_for()
    page.get_by_role("combobox", name="Order").select_option("data")
    page.locator(".questions tbody tr:first-child", has_text="retain/001").wait_for()


@pytest.mark.slow
def test_rows_are_drawn_as_one_scrolls(opened: Any) -> None:
    found = opened("many")
    page = found.page
    assert found.count == "50 of 1,200 questions shown"
    for shown in (100, 150):
        page.evaluate("scrollTo(0, document.querySelector('[data-part=more]').getBoundingClientRect().top + scrollY)")
        page.locator("[aria-live]", has_text=f"{shown} of 1,200 ").wait_for()
    page.get_by_role("searchbox").fill("author 300 born in town 300.")  # in the first and the last block
    page.locator("[aria-live]", has_text="2 of 2 questions shown (1,200 in all)").wait_for()
    page.get_by_role("searchbox").fill("")
    page.locator("[aria-live]", has_text="50 of 1,200 ").wait_for()
    page.get_by_role("button", name="Show all").press("Enter")
    page.locator("[aria-live]", has_text="1,200 of 1,200 ").wait_for()
    ids = page.locator(".questions .id").all_inner_texts()
    assert len(ids) == len(set(ids)) == 1200


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("She was born in Turku.", "She was  never\tin Turku."),
        ("a b c d e f", "x b c y e f"),
        ("a b a b c", "b a b c a"),
        ("a\nb", "a b"),
        ("a b", " a  b "),
    ],
)
def test_words_that_differ_are_those_of_difflib(browser: Any, tmp_path: Path, before: str, after: str) -> None:
    """Struck out in the answer before, underlined in the answer after, and the rest in both."""
    run = write_run(tmp_path / "run", *({"retain": [record("retain", 1, text)]} for text in (before, after)))
    (tmp_path / "page.html").write_text(render_page([load_report_run(run)], version="0"))
    page = Page(browser, tmp_path / "page.html").page
    one, two = (re.findall(r"\n|[^\s]+", text) for text in (before, after))
    blocks = SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
    cuts = [" ".join(one[start:end]) for tag, start, end, _, _ in blocks if tag != "equal" and end > start]
    adds = [" ".join(two[start:end]) for tag, _, _, start, end in blocks if tag != "equal" and end > start]
    assert page.locator(".questions del").all_text_contents() == cuts
    assert page.locator(".questions ins").all_text_contents() == adds
    page.close()


def test_leaks_and_what_broke_come_first_and_can_be_filtered(opened: Any) -> None:
    found = opened("several")
    page = found.page
    badges = page.locator(".questions:visible .badge").all_inner_texts()
    assert badges[:6] == ["still leaks"] * 2 + ["broken"] * 3 + ["forgotten"]
    leaks = page.get_by_role("button", name="Still leaks (2)")
    leaks.press("Enter")
    page.locator("[aria-live]:visible", has_text="2 of 2 ").wait_for()
    assert (leaks.get_attribute("aria-pressed"), found.rows) == ("true", 2)
    page.get_by_role("button", name="Broken (3)").click()
    page.locator("[aria-live]:visible", has_text="5 of 5 ").wait_for()
    assert found.rows == 5
    leaks.click()
    page.locator("[aria-live]:visible", has_text="3 of 3 ").wait_for()
    assert found.rows == 3
    first = page.locator(".questions tbody tr").first
    assert first.locator("del").all_inner_texts() == ["was born in Town 1."]
    assert first.locator("ins").all_inner_texts() == ["never told anybody, which is a pity for their many readers."]


def test_tabs_by_keyboard(opened: Any) -> None:
    page = opened("several").page
    assert page.locator(".run:visible").count() == 1
    page.get_by_role("tab", name="run").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="retrained").get_attribute("aria-selected") == "true"
    assert page.locator(".run:visible").get_attribute("id") == "run-1"
    page.keyboard.press("End")
    assert page.locator(".run:visible .heat").count() == 1


def test_charts_are_drawn_and_change_with_the_theme(opened: Any) -> None:
    page = opened("several", color_scheme="light", reduced_motion="reduce").page  # charts are drawn at once
    drawn = (
        "[...document.querySelectorAll('canvas')].filter((each) => each.offsetHeight > 100).map((c) => c.toDataURL())"
    )
    light = page.evaluate(drawn)
    assert len(light) == 4  # utility and efficacy, losses, answers and refusals, the weight of AP
    assert all(len(each) > 5_000 for each in light)
    back = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(back)
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(back) != before
    assert page.evaluate(drawn) != light
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(back) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "several"])
def test_a_phone_needs_no_scrolling_to_the_side(opened: Any, name: str, scheme: str) -> None:
    page = opened(name, viewport={"width": 360, "height": 640}, color_scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    widths = page.evaluate(
        "[...document.querySelectorAll('button')].filter((b) => b.offsetWidth).map((b) => b.offsetHeight)"
    )
    assert max(widths) < 120


def test_on_paper_all_runs_are_shown(opened: Any) -> None:
    page = opened("several", color_scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".run:visible").count() == 3
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".run:visible").count() == 1
    assert page.get_by_role("button", name="Light theme").is_visible()


def test_legends_are_below_the_charts_on_a_phone(opened: Any) -> None:
    page = opened("several", viewport={"width": 390, "height": 844}).page
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll('canvas')].map((each) => Chart.getChart(each)).filter(Boolean)
          .map(({legend, scales}) => scales.x.bottom - legend.top)"""
    )
    assert overlaps
    assert max(overlaps) <= 0
