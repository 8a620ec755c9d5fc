"""Put together the configuration of a run of open-unlearning, as its Hydra does: defaults, a file, overrides."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml

from efface.config.open_unlearning.overrides import Override, Tree, apply_override, parse_override
from efface.config.open_unlearning.settings import mapping
from efface.config.parse import read_yaml
from efface.errors import EffaceError, suggest

_GROUPS = ("model", "trainer", "eval", "forget", "retain")
"""What `defaults` chooses: three files, and the data sets of both sides."""
_GROUP_OF_KEY = {"data/datasets@data.forget": "forget", "data/datasets@data.retain": "retain"}
_IGNORED_GROUPS = {"data", "collator", "hydra", "paths", "data/datasets@data.eval"}
_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_OTHER_COMMANDS = {"eval": "efface evaluate", "finetune": "efface finetune"}
"""First part of the name of an experiment that does not unlearn -> what does it here."""
_MAX_REFERENCES = 200
"""In one configuration, those in what is referred to counted again."""


@dataclass(frozen=True)
class Command:
    """What its `src/train.py` was started with."""

    where: str
    """The given file, or whose configuration it is; for messages."""
    base: Tree
    """The configuration without overrides of single values."""
    overrides: tuple[Override, ...]
    """In their order."""
    ignored: tuple[str, ...]
    """Arguments that choose files of which nothing is read here."""

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Self:
        """Read the files that arguments name; arguments and errors are those of `compose_config`."""
        path = next((each for each in arguments[:1] if "=" not in each and not each.startswith(("~", "--"))), None)
        content = {} if path is None else read_yaml(Path(path))
        chosen: dict[str, str] = {}
        overrides, ignored = [], []
        for argument in arguments[path is not None :]:
            if argument.startswith("--"):  # --config-name=unlearn.yaml
                _check_option(argument)
                continue
            override = parse_override(argument)
            group = _GROUP_OF_KEY.get(override.key, override.key)
            if group in (*_GROUPS, "experiment") and isinstance(override.value, str) and override.sign != "~":
                chosen[group] = override.value.removesuffix(".yaml")
            elif group in _IGNORED_GROUPS:
                ignored.append(argument)
            else:
                overrides.append(override)
        where = "the configuration of open-unlearning" if path is None else path
        return cls(where=where, base=_compose(content, chosen), overrides=tuple(overrides), ignored=tuple(ignored))

    def compose(self) -> Tree:
        """The configuration with overrides, and references resolved; errors are those of `compose_config`."""
        tree = self.base
        for override in self.overrides:
            tree = apply_override(tree, override, where=self.where)
        references = _References(tree)
        return {key: references.resolve(value, key) for key, value in tree.items()}


def compose_config(arguments: Sequence[str]) -> Tree:
    """Put together the configuration of a run.

    Args:
        arguments: What its `src/train.py` gets: overrides such as `experiment=unlearn/tofu/default`, `trainer=NPO` and
            `trainer.args.learning_rate=2e-5`; before them possibly a YAML file: the config.yaml that Hydra saves in
            `.hydra/` of a run, or an experiment with its `defaults`.

    Returns:
        The nested configuration, with references such as `${forget_split}` resolved.

    Raises:
        EffaceError: A file cannot be read, or an override, its key, a name of a file in its configs/ or a reference is
            unknown.
    """
    return Command.read(arguments).compose()


def _check_option(argument: str) -> None:
    if re.fullmatch(r"--config-name=eval(\.yaml)?", argument):
        raise EffaceError(
            f"{argument} does not unlearn; use efface evaluate with a preset: efface evaluate tofu-forget10 "
            "recipe=open-unlearning model=..."
        )
    if not re.fullmatch(r"--config-name=(unlearn|train)(\.yaml)?", argument):
        raise EffaceError(f"{argument!r} is no option that is known; give overrides, and --config-name=unlearn.yaml")


@cache
def _defaults() -> Tree:
    text = files("efface.config.open_unlearning").joinpath("defaults.yaml").read_text(encoding="utf-8")
    content: Tree = yaml.safe_load(text)
    return content


def _named(group: str, name: str) -> Tree:
    """A file of its configs/."""
    known: Tree = _defaults()[group]
    if group == "experiment" and (command := _OTHER_COMMANDS.get(name.partition("/")[0])):
        raise EffaceError(
            f"experiment={name} does not unlearn; use {command} with a preset: {command} tofu-forget10 "
            "recipe=open-unlearning model=..."
        )
    if name not in known:
        raise EffaceError(
            f"{group}={name}: it is no file of open-unlearning that is known here; {suggest(name, known)}"
        )
    found: Tree = known[name]
    return found


def _compose(content: Tree, chosen: Mapping[str, str]) -> Tree:
    """The chosen files of each group, below what the experiment and the given file say."""
    if "defaults" not in content and "trainer" in content:  # complete, as Hydra saves it
        return _replace(content, chosen)
    base = _defaults()["unlearn"]
    experiment = _named("experiment", chosen["experiment"]) if "experiment" in chosen else {}
    own = _own_defaults(content)
    names = {**base["defaults"], **experiment.get("defaults", {}), **own, **chosen}
    tree = {key: value for key, value in base.items() if key != "defaults"}
    for group in ("model", "trainer", "eval"):
        tree[group] = _file(group, names[group])
    for side in ("forget", "retain"):
        tree = _merge(tree, {"data": {side: {names[side]: _named("datasets", names[side])}}})
    for layer in (experiment, content):
        tree = _merge(tree, {key: value for key, value in layer.items() if key != "defaults"})
    for side in ("forget", "retain"):  # an override of the data set leaves the experiment's settings of another behind
        data = mapping(tree, "data")
        sets = mapping(data, side)
        named = {name: each for name, each in sets.items() if isinstance(each, dict) and "handler" in each}
        tree["data"] = {**data, side: named or sets}
    return tree


def _file(group: str, name: str) -> Tree:
    """What a file of a group adds to the configuration: one of `eval` has a block of its own name."""
    return {name: _named(group, name)} if group == "eval" else _named(group, name)


def _replace(content: Tree, chosen: Mapping[str, str]) -> Tree:
    tree = dict(content)
    for group, name in chosen.items():
        if group not in ("model", "trainer", "eval"):
            raise EffaceError(f"{group}={name} chooses among the files of a run, and the given one is complete already")
        tree[group] = _file(group, name)
    return tree


def _own_defaults(content: Tree) -> dict[str, str]:
    """What the `defaults` of an experiment's file choose."""
    found: dict[str, str] = {}
    entries = content.get("defaults") or []
    if not isinstance(entries, list):
        raise EffaceError(f"defaults={reprlib.repr(entries)} is no list of files; correct it")
    for entry in entries:
        if not isinstance(entry, dict):
            continue  # such as _self_
        for key, name in entry.items():
            plain = str(key).removeprefix("override ").removeprefix("/")
            group = _GROUP_OF_KEY.get(plain, plain)
            if group in _GROUPS and isinstance(name, str):
                found[group] = name
    return found


def _merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    """Mapping by mapping; `merge_settings` has rules of its own for `data`."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


class _References:
    """Replaces references by what they refer to; what is in a block that one refers to stays as it is."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._left = tree, _MAX_REFERENCES

    def resolve(self, value: Any, where: str) -> Any:
        """A value without references; `where` is its key, for messages."""
        if isinstance(value, dict):
            return {key: self.resolve(each, f"{where}.{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolve(each, where) for each in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        if match := _REFERENCE.fullmatch(value):
            return self._find(match[1], where)
        return _REFERENCE.sub(lambda match: str(self._find(match[1], where)), value)

    def _find(self, name: str, where: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise EffaceError(f"{where}: more than {_MAX_REFERENCES} references, or one to itself; give its value")
        found: Any = self._tree
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found if isinstance(found, dict | list) else self.resolve(found, where)
