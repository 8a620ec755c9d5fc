"""Which subsets of TOFU there are, and which of them can be forgotten."""

from __future__ import annotations

import pytest

from efface.config.open_unlearning import compose_config, convert
from efface.config.open_unlearning.tofu import check_tofu_subset, tofu_split
from efface.errors import EffaceError
from support.messages import assert_names

EXPERIMENT = "experiment=unlearn/tofu/default"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("forget_split=forget07", ["data.forget.TOFU_QA_forget", "forget07", "forget01", "forget05", "forget10"]),
        ("retain_split=retain97", ["data.retain.TOFU_QA_retain", "retain97", "retain90", "retain99"]),
        ("forget_split=[1]", ["data.forget.TOFU_QA_forget", "[1]", "forget01"]),
    ],
)
def test_a_split_that_does_not_exist_is_refused(override: str, named: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        convert(compose_config([EXPERIMENT, "trainer=GradDiff", override]))
    assert_names(str(error.value), "locuslab/TOFU", *named)


def test_other_subsets_and_data_sets_are_as_they_are() -> None:
    for name in ("holdout05", "full", "retain_perturbed", None):
        check_tofu_subset({"path": "locuslab/TOFU", "name": name}, "data.forget.X")
    check_tofu_subset({"path": "someone/else", "name": "forget07"}, "data.forget.X")


def test_splits() -> None:
    assert tofu_split("QADataset", {"path": "locuslab/TOFU", "name": "forget05"}) == "forget05"
    assert tofu_split("QADataset", {"path": "locuslab/TOFU", "name": "retain95"}) is None
    assert tofu_split("QAwithAlternateDataset", {"path": "locuslab/TOFU", "name": "forget05"}) is None
