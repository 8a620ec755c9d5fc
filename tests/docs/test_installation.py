"""What the page on installation and the Dockerfile name is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PAGE = (ROOT / "docs" / "installation.md").read_text()


def test_files_of_the_image_are_there_and_sent_to_docker() -> None:
    copied = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(sent)
    assert all((ROOT / name).exists() for name in copied)


def test_requirements_are_there() -> None:
    named = set(re.findall(r"requirements/[\w-]+\.txt", DOCKERFILE + PAGE))
    assert {"requirements/runtime.txt", "requirements/build.txt", "requirements/cuda.txt"} <= named
    assert all((ROOT / name).is_file() for name in named)


def test_every_installation_in_the_image_has_hashes_or_no_dependencies() -> None:
    commands = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(commands) == 3
    assert all("--require-hashes" in each or "--no-deps --no-build-isolation" in each for each in commands)


def test_the_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\w+)$", DOCKERFILE.split("FROM ")[-1], re.MULTILINE)[-1:] == ["efface"]


def test_build_arguments_are_those_of_the_page() -> None:
    arguments = set(re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE))
    assert arguments == set(re.findall(r"--build-arg (\w+)=", PAGE))
