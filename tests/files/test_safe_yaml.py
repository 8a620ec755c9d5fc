from __future__ import annotations

import datetime
import time
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.files.safe_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, InvalidYamlError, parse_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{level}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(9)
)
"""Nine lines that stand for 9^10 values."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1", {"a": 1}),
        ("[1, 2.5, -3, 0, 1e5]", [1, 2.5, -3, 0, "1e5"]),  # YAML 1.1: pydantic reads it as a number
        ("a: '010'\nb: \"1:30\"", {"a": "010", "b": "1:30"}),
        ("0x1f", 31),
        ("a: &b [1, 2]\nc: *b", {"a": [1, 2], "c": [1, 2]}),
        ("a: &b {x: 1}\nc: {<<: *b, y: 2}", {"a": {"x": 1}, "c": {"x": 1, "y": 2}}),
        ("d: 2024-01-02", {"d": datetime.date(2024, 1, 2)}),
        ("~", None),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is given twice"),
        ("x:\n  a: 1\n  a: 3", "line 3: the key 'a' is given twice"),
        ("a: 010", "line 1: 010"),
        ("a: 0_7", "line 1: 0_7"),
        ("a:\n- -017", "line 2: -017"),
        ("a: 1:30", "line 1: 1:30"),
        ("a: 12:30:45.5", "line 1: 12:30:45.5"),
        ("a: " + "1" * 5000, "4300 digits"),
        ("a: 2024-13-45", "month"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels of nesting"),
        ("[" * 3000, "levels of nesting"),
        ("{a: " * 3000, "levels of nesting"),
        ("a: &a {x: *a}", "contains itself"),
        ("a: &a\n  <<: *a", "contains itself"),
        (LAUGHS, f"{MAX_NODES:,} values"),
        ("? [1, 2]\n: 3", "line 1: a key is a list or a mapping"),
        ("a: !!python/object/apply:os.system [exit]", "line 1: could not determine a constructor"),
        ("a: !mine 3", "line 1: could not determine a constructor"),
        ("a: [1\nb: 2", "line 2"),
        ("a: \0", "control characters"),
        ("a: \ud800", "surrogate"),
        ("a" * (MAX_BYTES + 1), "characters"),
        ("a: 1\n---\nb: 2", "line 2"),
    ],
)
def test_what_is_refused(text: str, named: str) -> None:
    before = time.process_time()
    with pytest.raises(InvalidYamlError) as caught:
        parse_yaml(text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.process_time() - before < 5


def test_depth_that_is_allowed() -> None:
    value: Any = parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        [value] = value
    assert value == []


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN)
def test_what_yaml_dumps_is_read_back(value: Any) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("&*![]{}:,-?|>#'\"%@~ \n\t0123456789ab", max_size=60))
def test_any_text_is_a_value_or_invalid(text: str) -> None:
    with suppress(InvalidYamlError):
        parse_yaml(text)
