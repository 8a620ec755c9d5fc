"""Hooks of `mkdocs build` (mkdocs.yml): formulas as MathML, notebooks, settings, decisions, comments beside
commands, files of the repository.

Formulas are converted to MathML while the site is built, so that its pages need no script and no network.
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
_SETTINGS = re.compile(r"<!-- settings: (\w+) -->")
_DECISIONS = "<!-- decisions -->"
_COMMENT = re.compile(r"(?<=\S)( {2,})(# .*)$", re.MULTILINE)
_CODE = re.compile(r"<pre><span></span><code>.*?</code></pre>", re.DOTALL)  # of code without a language
_ARGUMENT = re.compile(r"\n(<code>\w+</code>(?:, <code>\w+</code>)*: )")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Insert notebooks, settings and decisions that a page names; point links out of docs/ to copies of these files."""
    markdown = _NOTEBOOK.sub(lambda match: _cells(json.loads((_ROOT / match[1]).read_text(encoding="utf-8"))), markdown)
    markdown = _SETTINGS.sub(lambda match: _settings(match[1]), markdown)
    markdown = markdown.replace(_DECISIONS, _decisions()).replace("(decisions/)", "(#decisions)")
    return _UPWARD.sub(lambda match: _link(match, page.file.src_uri, config, files), markdown)


def on_page_content(page_html: str, *, page: Any, **_: Any) -> str:
    """Convert formulas in the markup of arithmatex to MathML; put each argument of a docstring on a separate line.

    Comments beside commands are marked, and site.css puts them below the command on a phone.
    """
    page_html = _CODE.sub(_mark_comments, page_html)
    if page.file.src_uri.startswith("reference/"):
        page_html = _ARGUMENT.sub(r"</p>\n<p>\1", page_html)
    return _FORMULA.sub(_mathml, page_html)


def _decisions() -> str:
    """A link to each file of docs/decisions, with its title."""
    files = sorted((_ROOT / "docs" / "decisions").glob("*.md"))
    titles = {file.name: file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for file in files}
    return "\n".join(f"- [{title}](decisions/{name})" for name, title in titles.items())


def _mark_comments(code: re.Match[str]) -> str:
    if "──" in code[0]:  # a table of the terminal
        return code[0].replace("<code>", '<code class="columns">', 1)
    return _COMMENT.sub(r'<span class="gap">\1</span><span class="comment">\2</span>', code[0])


def _mathml(match: re.Match[str]) -> str:
    block = match[1] == "div"
    formula = convert(html.unescape(match[2]), display="block" if block else "inline")
    return f'<div class="formula" tabindex="0">{formula}</div>' if block else formula


def _link(match: re.Match[str], source: str, config: Any, files: Any) -> str:
    """A link that works on the site: to a copy of the file; without a target for a folder."""
    text, target = match[1], match[2]
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(source), target))
    if path.startswith("docs/") or not (_ROOT / path).exists():
        return match[0]
    if (_ROOT / path).is_dir():
        return text
    copy = f"source/{path}.txt"  # a suffix that browsers show as text and mkdocs does not treat as a page
    if copy not in files.src_uris:
        files.append(File.generated(config, copy, abs_src_path=str(_ROOT / path)))
    return f"[{text}]({posixpath.relpath(copy, posixpath.dirname(source) or '.')})"


def _settings(command: str) -> str:
    """All settings of a command by group; each is a heading, so that the search of the site finds it."""
    from efface.config.reference import COMMANDS, settings

    groups: dict[str, list[str]] = {}
    for each in settings(COMMANDS[command]):
        lines = [f"### `{each.key}`", each.sentence, "", f"{each.allowed}; default {each.default}"]
        lines[-1] += f"; in {each.unit}" if each.unit else ""
        if each.words:
            lines += ["", f"*Also known as: {', '.join(each.words)}.*"]
        groups.setdefault(each.group, []).append("\n".join(lines))
    titles = {group: f"## `{group}`" if group else "## Top level" for group in groups}
    return "\n\n".join("\n\n".join([titles[group], *entries]) for group, entries in groups.items())


def _cells(notebook: dict[str, Any]) -> str:
    """A notebook's text, code and printed output as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        printed = "".join(_text_of(output) for output in cell["outputs"]).rstrip()
        if printed:
            parts.append(f"```text\n{_ESCAPES.sub('', printed)}\n```")
    return "\n\n".join(parts)


def _text_of(output: dict[str, Any]) -> str:
    return "".join(output["text"] if "text" in output else output.get("data", {}).get("text/plain", ""))
