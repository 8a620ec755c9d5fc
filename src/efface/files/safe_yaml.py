"""Parse YAML: what may come from a stranger, with all its ambiguities refused, and efface's own files. No torch."""

from __future__ import annotations

import re
from typing import Any

import yaml

from efface.errors import first_line

MAX_NODES = 100_000
"""Values in one document, those that aliases repeat counted again."""
MAX_DEPTH = 50
"""Levels of nested lists and mappings."""
MAX_BYTES = 2**20
"""Of one document."""

_AMBIGUOUS_NUMBER = re.compile(r"[-+]?(0[0-7_]*[0-7][0-7_]*|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Octal and base-60 numbers: 010 is 8 in YAML 1.1 and 10 in YAML 1.2; 1:30 is 90 or a text."""
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class InvalidYamlError(ValueError):
    """The text is not YAML that efface reads; the message says why and where."""


def parse_yaml(text: str) -> Any:
    """Parse one YAML document into plain values; no tag can create any other object.

    Args:
        text: The document.

    Returns:
        Its value: None, a bool, a number, a text, a list or a mapping.

    Raises:
        InvalidYamlError: It is not valid YAML, is too long, has a key twice, is nested too deeply or into itself, has
            too many values, or has an octal or base-60 number.
    """
    if len(text) > MAX_BYTES:
        raise InvalidYamlError(f"more than {MAX_BYTES:,} characters")
    try:
        _check_depth(text)
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_values(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        lines = text.rstrip("\n").count("\n") + 1  # the parser may be past the last one
        where = f"line {min(mark.line + 1, lines)}: " if mark is not None else ""
        raise InvalidYamlError(f"{where}{problem or first_line(error)}") from error
    except ValueError as error:  # a date that does not exist, a number of thousands of digits
        raise error if isinstance(error, InvalidYamlError) else InvalidYamlError(first_line(error)) from error


def parse_own_yaml(text: str) -> Any:
    """Parse a YAML file that is part of efface: by libyaml where PyYAML has it, which is ten times as fast.

    Args:
        text: The content of the file.

    Returns:
        Its value.
    """
    return yaml.load(text, Loader=_LOADER)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before it becomes a tree of nodes, which PyYAML builds recursively."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InvalidYamlError(f"{_line(event)}: more than {MAX_DEPTH} levels of nesting")


def _check_values(root: yaml.Node) -> None:
    """Refuse what an alias repeats without end, too many values, equal keys and ambiguous numbers."""
    count, open_nodes = 0, [(root, 0)]
    while open_nodes:
        node, depth = open_nodes.pop()
        count += 1
        if count > MAX_NODES:
            raise InvalidYamlError(f"{_line(node)}: more than {MAX_NODES:,} values")
        if depth > MAX_DEPTH:
            raise InvalidYamlError(f"{_line(node)}: a value contains itself")
        if isinstance(node, yaml.ScalarNode):
            _check_number(node)
        elif isinstance(node, yaml.MappingNode):
            _check_unique_keys(node)
            open_nodes += [(each, depth + 1) for pair in node.value for each in pair]
        else:
            open_nodes += [(each, depth + 1) for each in node.value]


def _check_number(node: yaml.ScalarNode) -> None:
    if not node.style and _AMBIGUOUS_NUMBER.fullmatch(node.value):
        raise InvalidYamlError(
            f"{_line(node)}: {node.value[:40]} is an octal or base-60 number in some versions of YAML; write it in "
            "decimal, or in quotes if it is a text"
        )


def _check_unique_keys(node: yaml.MappingNode) -> None:
    keys = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise InvalidYamlError(f"{_line(key)}: a key is a list or a mapping")
        if (key.tag, key.value) in keys:
            raise InvalidYamlError(f"{_line(key)}: the key {key.value!r} is given twice")
        keys.add((key.tag, key.value))


def _line(at: yaml.Node | yaml.Event) -> str:
    assert at.start_mark is not None, "the parser marks every node and event"
    return f"line {at.start_mark.line + 1}"
