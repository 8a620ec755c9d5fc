"""Commands must start fast, so the modules that they import must not load heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "accelerate",
    "lm_eval",
    "nltk",
    "pandas",
    "peft",
    "rouge_score",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "tokenizers",
    "torch",
    "transformers",
}

IMPORT_ALL_OF = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", ()), package.__name__ + "."):
    importlib.import_module(module.name)
print("\\n".join(sys.modules))
"""


def heavy_after(code: str, *arguments: str) -> set[str]:
    """Run `code`, which prints the names of the loaded modules, in a new process; return the heavy ones."""
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return HEAVY & set(ran.stdout.split())


@pytest.mark.parametrize(
    "package",
    [
        "efface.schema",
        "efface.artifacts",
        "efface.files",
        "efface.data",
        "efface.scores",
        "efface.downstream",
        "efface.config.commands",
        "efface.commands.purge",
        "efface.commands.push",
        "efface.evidence",
        "efface.config.resolve",
        "efface.cli",
    ],
)
def test_importing_loads_nothing_heavy(package: str) -> None:
    assert heavy_after(IMPORT_ALL_OF, package) == set()


def test_importing_efface_loads_nothing_heavy() -> None:
    assert heavy_after("import sys, efface; print('\\n'.join(sys.modules))") == set()


def test_public_losses_load_torch_when_they_are_used() -> None:
    assert "torch" in heavy_after("import sys; from efface import losses; print('\\n'.join(sys.modules))")


def test_the_garbage_collector_does_not_look_at_imported_libraries_again_and_again() -> None:
    code = """
import gc, sys
sys.argv = ["efface", "--version"]
from efface.cli import main
try:
    main()
except SystemExit:
    print(gc.get_threshold()[0])
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed.split()[-1]) > 10_000  # 700 by default: 900 collections while torch and transformers load
