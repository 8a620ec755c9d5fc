"""Which code a log is of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.scores.inputs.eval_logs import is_summary, logged_aggregates, parse_log, read_log
from support.messages import assert_names

GOLDEN = Path(__file__).parents[2] / "golden" / "open_unlearning"


def test_each_kind_of_log(tmp_path: Path) -> None:
    tofu = tmp_path / "log.json"
    tofu.write_text(json.dumps({"eval_log.json": {"avg_gt_loss": [1.0]}}))
    result, summary = GOLDEN / "ou_smol_TOFU_EVAL.json", GOLDEN / "ou_smol_TOFU_SUMMARY.json"
    assert list(read_log(tofu)) == ["retain"]
    assert list(read_log(result)) == ["retain", "real_authors", "world_facts", "forget"]
    assert [is_summary(path) for path in (tofu, result, summary)] == [False, False, True]
    assert logged_aggregates(tofu) is None
    found = logged_aggregates(result), logged_aggregates(summary)
    assert all(each is not None and each["privleak"] == pytest.approx(7.6923, abs=1e-4) for each in found)


@pytest.mark.parametrize(("text", "named"), [("{", "JSON"), ("[1]", "[1]"), ("{}", "{}")])
def test_what_is_no_log(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "log.json"
    path.write_text(text)
    with pytest.raises(EffaceError) as error:
        parse_log(path)
    assert_names(str(error.value), str(path), named, "eval_log_aggregated.json", "TOFU_EVAL.json")
