"""Parts of the site other than Markdown: formulas, pictures, and links out of docs/."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "docs" / "reproduction" / "forget01.json"


@pytest.fixture(scope="module")
def hooks() -> dict[str, Any]:
    pytest.importorskip("mkdocs")
    return runpy.run_path(str(ROOT / "scripts" / "site_hooks.py"))


@pytest.fixture(scope="module")
def pictures() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "method_pictures.py"))


def test_attributes_of_a_link_stand_on_its_line() -> None:
    """Otherwise they are shown as text."""
    for page in (ROOT / "docs").rglob("*.md"):
        assert not re.search(r"\)\{[^}]*\n", page.read_text(encoding="utf-8")), page


def named(page: str) -> SimpleNamespace:
    return SimpleNamespace(file=SimpleNamespace(src_uri=page))


def test_formulas_become_mathml(hooks: dict[str, Any]) -> None:
    page = r'<p><span class="arithmatex">\(y_{&lt;t}\)</span></p><div class="arithmatex">\[\frac{1}{N}\]</div>'
    made = hooks["on_page_content"](page, page=named("methods/me.md"))
    assert made.count("<math") == made.count("</math>") == 2
    assert "<mfrac>" in made
    assert 'display="block"' in made
    assert "arithmatex" not in made


def test_arguments_in_docstrings_are_on_separate_lines(hooks: dict[str, Any]) -> None:
    text = "<p>So.\n<code>a</code>, <code>b</code>: both, and\n<code>c</code> too.</p>"
    made = hooks["on_page_content"](text, page=named("reference/functions.md"))
    assert made == "<p>So.</p>\n<p><code>a</code>, <code>b</code>: both, and\n<code>c</code> too.</p>"
    assert hooks["on_page_content"](text, page=named("data.md")) == text


def test_links_out_of_docs_lead_to_copies(hooks: dict[str, Any], tmp_path: Path) -> None:
    class Files(list[Any]):
        @property
        def src_uris(self) -> list[str]:
            return [each.src_uri for each in self]

    files, page = Files(), named("how-to/page.md")
    config = SimpleNamespace(
        site_dir=str(tmp_path), use_directory_urls=False, plugins=SimpleNamespace(_current_plugin="")
    )
    text = "[one](../../examples/einstein.csv) [all](../../examples) [page](../data.md) [gone](../../nothing.py)"
    made = hooks["on_page_markdown"](text, page=page, config=config, files=files)
    assert made == "[one](../source/examples/einstein.csv.txt) all [page](../data.md) [gone](../../nothing.py)"
    assert files.src_uris == ["source/examples/einstein.csv.txt"]


def test_the_map_lists_every_decision(hooks: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    made = hooks["on_page_markdown"](text, page=named("architecture.md"), config=None, files=None)
    listed = re.findall(r"\]\(decisions/(\S+)\)", made)
    assert listed == sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))


def test_comments_beside_commands_are_marked(hooks: dict[str, Any]) -> None:
    page = "<pre><span></span><code># alone\nefface run   # beside\n    # within\n</code></pre><p>a   # b</p>"
    made = hooks["on_page_content"](page, page=named("report.md"))
    marked = '<span class="gap">   </span><span class="comment"># beside</span>'
    assert made == page.replace("   # beside", marked)
    table = "<pre><span></span><code> a  b\n ────\n</code></pre>"
    made = hooks["on_page_content"](table, page=named("report.md"))
    assert made == table.replace("<code>", '<code class="columns">')


def test_pictures_draw_means_over_seeds(pictures: dict[str, Any]) -> None:
    """The numbers of docs/reproduction.md."""
    models = json.loads(RUNS.read_text(encoding="utf-8"))["models"]
    (method, points), *others = pictures["effects"](models, "me").items()
    assert (method, others) == ("me+gd", [])
    assert [round(points[-1][axis], 3) for axis in ("utility", "efficacy")] == [0.265, 0.911]
    assert [round(points[0][axis], 3) for axis in ("utility", "efficacy")] == [0.457, 0.283]
    assert len(points) == 6  # before, four epochs, the end
    assert list(pictures["effects"](models, "gd")) == ["ga+gd", "npo+gd", "me+gd", "dpo+gd", "idk+gd"]


def test_every_card_has_its_picture(pictures: dict[str, Any]) -> None:
    for objective in (*pictures["OBJECTIVES"], *pictures["OF_THE_DEMO"]):
        card = ROOT / "docs" / "methods" / f"{objective}.md"
        assert f"(../images/methods/{objective}.svg)" in card.read_text(encoding="utf-8")
        assert (card.parents[1] / "images" / "methods" / f"{objective}.svg").is_file()
