"""Findings: added once, and made from what an action raises."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.preflight.findings import FindingsBuilder
from support.runs import Told


def test_equal_findings_are_added_once():
    builder = FindingsBuilder(Told())
    for text in ("one", "one", "two"):
        builder.add("warning", "run", text)
    assert [each.text for each in builder.findings] == ["one", "two"]
    assert not builder.has_problem


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (EffaceError("bad; fix it"), ["bad; fix it"]),
        (OSError(28, "No space left on device", "/tmp/x"), ["/tmp/x: No space left on device", "free disk space"]),
        (OSError("odd"), ["odd; check the path"]),
        (torch.OutOfMemoryError(), ["the GPU ran out of memory", "evaluate.max_cache_tokens", "train.lora=true"]),
    ],
)
def test_errors_become_problems(error, named):
    def fail():
        raise error

    builder = FindingsBuilder(Told())
    assert builder.attempt("thing", lambda: 3) == 3
    assert builder.findings == []
    assert builder.attempt("thing", fail) is None
    [finding] = builder.findings
    assert (finding.level, finding.about) == ("problem", "thing")
    assert all(part in finding.text for part in named)
    assert builder.has_problem


def test_other_errors_are_not_caught():
    with pytest.raises(ZeroDivisionError):
        FindingsBuilder(Told()).attempt("thing", lambda: 1 / 0)


def test_warnings_are_findings_and_stages_go_to_the_reporter():
    reporter = Told()
    builder = FindingsBuilder(reporter)
    builder.on_warning("careful")
    builder.on_stage("loading")
    assert [(each.level, each.text) for each in builder.findings] == [("warning", "careful")]
    assert (reporter.stages, reporter.warnings) == (["loading"], [])
