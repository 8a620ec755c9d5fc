"""The tests mirror the sources: tests/x/test_y.py tests src/efface/x/y.py."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "efface"
TESTS = ROOT / "tests"

ELSEWHERE = {"benchmarks", "docs", "end_to_end", "examples", "golden", "scripts", "support", "torture"}
"""Folders of tests that do not mirror a source folder."""

OF_THE_PROJECT = {
    "test_examples.py",  # examples/
    "test_layout.py",  # this rule
    "test_package.py",  # what `import efface` provides
    "test_startup.py",  # what loads without torch
}
"""Test files at the top that do not mirror a module."""

WITHOUT_A_MODULE: dict[str, str] = {
    "chat/test_page_in_browser.py": "the page's script, chat/page/chat.js",
    "report/page/test_page_in_browser.py": "the page's script, report/page/assets/page.js",
    "scores/test_golden_scores.py": "numbers of published eval logs, made by several modules",
}
"""Other test files of a folder -> what they test."""

SMALL = 25
"""Modules of at most so many statements may be tested through others."""

WITHOUT_A_TEST_FILE: dict[str, str] = {
    "text/template_child.py": "the process of text/template_renderer.py, whose tests run it",
}
"""Module -> why it has no test file. Keep this short."""


def mirroring_files() -> list[Path]:
    """Paths of the test files that mirror a module, relative to tests/."""
    paths = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
    return [path for path in paths if path.parts[0] not in ELSEWHERE | OF_THE_PROJECT]


def module_of(test: Path) -> Path:
    """The module that a test file belongs to, relative to src/efface."""
    return test.with_name(test.name.removeprefix("test_"))


def statements(path: Path) -> int:
    """Number of statements other than docstrings and imports."""
    skipped = (ast.Import, ast.ImportFrom)
    return sum(
        isinstance(node, ast.stmt)
        and not isinstance(node, skipped)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def test_every_test_file_has_its_module() -> None:
    strays = [
        str(test)
        for test in mirroring_files()
        if str(test) not in WITHOUT_A_MODULE and not (SOURCES / module_of(test)).is_file()
    ]
    assert not strays, "move each to the path of its module, or to tests/end_to_end:\n" + "\n".join(strays)


def test_every_module_has_its_test_file() -> None:
    tested = {module_of(test) for test in mirroring_files()}
    modules = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*.py"))
    untested = [
        str(module)
        for module in modules
        if module not in tested and str(module) not in WITHOUT_A_TEST_FILE and statements(SOURCES / module) > SMALL
    ]
    assert not untested, "add a test file for each:\n" + "\n".join(untested)


def test_exceptions_are_needed() -> None:
    tested = {str(module_of(test)) for test in mirroring_files()}
    assert [test for test in WITHOUT_A_MODULE if not (TESTS / test).is_file()] == []
    assert [module for module in WITHOUT_A_TEST_FILE if not (SOURCES / module).is_file() or module in tested] == []


def test_packages_only_re_export() -> None:
    """`__init__.py` has a docstring, imports and `__all__`; only that of efface itself imports lazily."""
    allowed = (ast.Import, ast.ImportFrom)
    for path in SOURCES.rglob("__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        code = [
            node
            for node in body[1:]
            if not isinstance(node, allowed)
            and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        ]
        assert path.parent == SOURCES or not code, f"{path.relative_to(ROOT)}: move its code to a module"
