"""Licenses of dependencies: how they are read, and which are refused."""

from __future__ import annotations

import sys
from email.message import Message
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("licenses")


def metadata(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MPL-2.0", False),
        ("(MIT)", False),
        ("", False),
    ],
)
def test_permissive(script: Any, expression: str, permissive: bool) -> None:
    assert script.is_permissive(expression) is permissive


@pytest.mark.parametrize(
    ("fields", "license_name"),
    [
        ({"License_Expression": "MIT", "License": "GPL"}, "MIT"),
        ({"License": "Apache 2.0"}, "Apache-2.0"),
        ({"License": "BSD 3-Clause License\n\nRedistribution"}, "BSD-3-Clause"),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"License": "GPL-3.0"}, "GPL-3.0"),
        ({}, ""),
    ],
)
def test_read_from_metadata(script: Any, fields: dict[str, str], license_name: str) -> None:
    assert script.license_of(metadata(**fields)) == license_name


def test_a_package_is_accepted_with_its_license_alone(script: Any) -> None:
    assert script.Licensed("certifi", "1", "MPL-2.0").problem is None
    for other in (script.Licensed("certifi", "1", "GPL-3.0"), script.Licensed("new", "1", "MPL-2.0")):
        assert other.license in other.problem
    assert "no license" in script.Licensed("new", "1", "").problem


def test_fails_on_a_license_that_is_not_accepted(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = script.read_license
    monkeypatch.setattr(
        script,
        "read_license",
        lambda name, version: script.Licensed(name, version, "GPL-3.0") if name == "rich" else read(name, version),
    )
    monkeypatch.setattr(sys, "argv", ["licenses.py", "--check"])
    with pytest.raises(SystemExit, match=r"rich .*GPL-3\.0"):
        script.main()
