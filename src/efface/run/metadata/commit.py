"""The commit of efface itself, where it runs from a checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import efface


def source_commit() -> str | None:
    """The commit of efface's checkout, `-dirty` where files differ from it; None for an installed package."""
    root = Path(efface.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        # `git describe --dirty` would refresh the index, and leave its lock behind where this process is killed
        changed = _git(root, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
