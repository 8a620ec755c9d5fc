"""Write examples/run.yaml: all settings of a run, each with its sentence, from the config classes.

python scripts/example_config.py [--check]    # --check: exit with 1 if the file is not what would be written
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.config.reference import settings
from efface.config.resolve import SCHEMA_FILE

FILE = Path(__file__).resolve().parents[1] / "examples" / "run.yaml"
SETTINGS: dict[str, Any] = {
    "method": "me+kl",
    "model": "path/to/model",
    "data": {"forget": "examples/einstein.csv", "retain": "model-answers"},
    "forget_coeff": 0.05,
    "me": {"positions": "answer"},
    "train": {"lr": 3e-5, "epochs": 8, "batch_size": 4},
}
"""What differs from the defaults."""
_FIRST = ("method", "model", "data")
_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
# All settings of a run: efface run examples/run.yaml model=... --out runs/einstein
# Only method, model and data are required; the other lines are the defaults, except forget_coeff, positions under me,
# and lr, epochs and batch_size under train, which were found with this method for SmolLM2-135M. Written by
# scripts/example_config.py.

"""


def text() -> str:
    """The content of the file."""
    config = validate_config(RunConfig, SETTINGS)
    return _HEAD + "\n".join(_lines(config, indent=0)) + "\n"


def _lines(config: BaseModel, indent: int) -> Iterator[str]:
    docs = {each.key: each.sentence for each in settings(type(config)) if "." not in each.key}
    values = config.model_dump(mode="json")
    fields = type(config).model_fields
    for name in sorted(fields, key=lambda each: indent or each not in _FIRST):  # stable
        field = fields[name]
        space = "  " * indent
        yield from (f"{space}# {line}" for line in textwrap.wrap(docs[name], 110 - 2 * indent))
        value = getattr(config, name)
        group = _group(field.annotation)
        if isinstance(value, BaseModel):
            yield f"{space}{name}:"
            yield from _lines(value, indent + 1)
        elif value is None and group is not None and name != "extra_retain" and not _required(group):
            yield f"{space}# {name}:"
            yield from (f"{space}# {line.removeprefix(space)}" for line in _lines(group(), indent + 1))
        else:
            yield f"{space}{name}: {_yaml(values[name])}"


def _group(annotation: object) -> type[BaseModel] | None:
    classes = (each for each in (annotation, *get_args(annotation)) if isinstance(each, type))
    return next((each for each in classes if issubclass(each, BaseModel)), None)


def _required(group: type[BaseModel]) -> bool:
    return any(field.is_required() for field in group.model_fields.values())


def _yaml(value: object) -> str:
    dumped: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return dumped.removesuffix("\n").removesuffix("\n...").strip()


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        return int(FILE.read_text(encoding="utf-8") != text())
    FILE.write_text(text(), encoding="utf-8")
    print(FILE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
