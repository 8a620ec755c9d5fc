"""examples/run.yaml has every setting; scripts/example_config.py writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from efface.config.commands import RunConfig
from efface.config.reference import settings

ROOT = Path(__file__).parents[2]


def test_it_is_what_the_script_writes() -> None:
    ran = subprocess.run([sys.executable, str(ROOT / "scripts" / "example_config.py"), "--check"], check=False)
    assert ran.returncode == 0, "run python scripts/example_config.py"


def test_it_has_every_setting() -> None:
    text = (ROOT / "examples" / "run.yaml").read_text()
    groups_of_none = ("continual", "data.retain", "data.forget.columns", "data.extra_retain")
    for each in settings(RunConfig):
        if not each.key.startswith(groups_of_none):
            assert f"{each.key.rpartition('.')[2]}:" in text
