"""Untrusted text on the page."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from efface.report.page.escape import script_json, visible_controls


def test_control_codes_become_visible() -> None:
    assert visible_controls("a\x1b[31mb\x00\x7f\ud800\x9b") == "a␛[31mb␀���"
    assert visible_controls("a\r\nb\rc") == "a\nb␍c"
    assert visible_controls("two\nlines\tand ü שלום 👩‍👩‍👧") == "two\nlines\tand ü שלום 👩‍👩‍👧"


@given(some.text())
def test_json_in_a_script_has_the_same_value_and_no_markup(text: str) -> None:
    value = [text, "</script><!--<script>\u2028\u2029&"]
    escaped = str(script_json(value))
    assert not set("<>&\u2028\u2029") & set(escaped)
    assert json.loads(escaped) == value


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script_json([math.nan])
