"""What `mkdocs build` does besides (mkdocs.yml): formulas as MathML, decisions in the menu, files of the repository.

Formulas become MathML while the site is built, so that no script draws them and no network is needed.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

_ROOT = Path(__file__).parents[1]
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_UPWARD = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)\)")
_NOTEBOOK = re.compile(r"<!-- notebook: (\S+) -->")
_ARGUMENT = re.compile(r"\n(<code>\w+</code>(?:, <code>\w+</code>)*: )")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def on_config(config: Any) -> Any:
    """Put every page of a folder into the menu where the menu names a folder."""
    config.nav = _unfolded(config.nav, Path(config.docs_dir))
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Show a notebook where a page names one; lead links out of docs/ to copies of these files."""
    markdown = _NOTEBOOK.sub(lambda match: _cells(json.loads((_ROOT / match[1]).read_text(encoding="utf-8"))), markdown)
    return _UPWARD.sub(lambda match: _link(match, page.file.src_uri, config, files), markdown)


def on_page_content(page_html: str, *, page: Any, **_: Any) -> str:
    """Formulas, as arithmatex leaves them, to MathML; of docstrings, each argument on a line of its own."""
    if page.file.src_uri.startswith("reference/"):
        page_html = _ARGUMENT.sub(r"</p>\n<p>\1", page_html)
    return _FORMULA.sub(_mathml, page_html)


def _unfolded(nav: Any, docs: Path) -> Any:
    if isinstance(nav, list):
        return [_unfolded(each, docs) for each in nav]
    if isinstance(nav, dict):
        return {title: _unfolded(each, docs) for title, each in nav.items()}
    if isinstance(nav, str) and nav.endswith("/"):
        return [path.relative_to(docs).as_posix() for path in sorted((docs / nav).glob("*.md"))]
    return nav


def _mathml(match: re.Match[str]) -> str:
    block = match[1] == "div"
    formula = convert(html.unescape(match[2]), display="block" if block else "inline")
    return f'<div class="formula" tabindex="0">{formula}</div>' if block else formula


def _link(match: re.Match[str], source: str, config: Any, files: Any) -> str:
    """Links stay right where the repository is read; on the site they lead to a copy, and those to folders nowhere."""
    text, target = match[1], match[2]
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(source), target))
    if path.startswith("docs/") or not (_ROOT / path).exists():
        return match[0]
    if (_ROOT / path).is_dir():
        return text
    copy = f"source/{path}.txt"  # shown by every browser, and never taken for a page
    if copy not in files.src_uris:
        files.append(File.generated(config, copy, abs_src_path=str(_ROOT / path)))
    return f"[{text}]({posixpath.relpath(copy, posixpath.dirname(source) or '.')})"


def _cells(notebook: dict[str, Any]) -> str:
    """A notebook's text, code and printed output as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        said = "".join(_said(output) for output in cell["outputs"]).rstrip()
        if said:
            parts.append(f"```text\n{_ESCAPES.sub('', said)}\n```")
    return "\n\n".join(parts)


def _said(output: dict[str, Any]) -> str:
    return "".join(output["text"] if "text" in output else output.get("data", {}).get("text/plain", ""))
