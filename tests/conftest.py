"""Fixtures that several test folders share."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest_plugins = ["support.built_once", "support.downstream", "support.refused"]

if TYPE_CHECKING:
    from support.hub_server import Hub


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test draws the same random numbers whatever ran before it."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Nothing that is imported to collect the tests becomes garbage: do not look for any."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> None:
    """Runs collect garbage often, which takes a second with all the tests and libraries in memory: leave those out."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _sigterm_is_not_ignored() -> None:
    """A process that ends with others ignores SIGTERM from then on; a test of that must not change later ones."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with benchmark data and outside numbers (`EFFACE_SHARED`, default ../shared)."""
    root = Path(__file__).parent.parent
    named = os.environ.get("EFFACE_SHARED")
    if named == "":  # said on purpose, as .github/workflows/ci.yml does
        pytest.skip("EFFACE_SHARED is empty: no benchmark data and no numbers of other implementations here")
    folder = Path(named or root.parent / "shared")
    if folder.is_dir():
        return folder
    message = f"{folder} is not there: set EFFACE_SHARED to the folder with data/ and golden/"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of real pretrained models for machines without a hub; `make real` makes it."""
    if folder := os.environ.get("EFFACE_REAL_MODELS"):
        return Path(folder)
    message = "EFFACE_REAL_MODELS does not say where the real pretrained models are: use make real"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def efface(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in this process, where torch is loaded once: exit code, stdout and stderr of `efface ARGUMENTS`."""
    from efface.cli import main

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["efface", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(stopped.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A model hub of the test's own, empty, in place of huggingface.co; an empty cache; nobody is logged in."""
    from huggingface_hub import constants

    from support.hub_server import serving

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for module in ("efface.hub", "efface.commands.push"):
        monkeypatch.setattr(f"{module}.SECONDS_TO_CONNECT", 60.0)  # this machine may do much else
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub
