"""The section on a search: its sentences, its table and its chart."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.artifacts.tune import TuneCandidate, TuneSummary, TuneTrial
from efface.report.page.load_run import ReportRun
from efface.report.page.sections.tune_section import tune_section
from support.run_fixtures import results  # noqa: F401


def candidate(kept, forgot):
    return TuneCandidate(epoch=4, step=9, kept=kept, kept_at_least=kept - 0.02, utility=0.5, forget_efficacy=forgot)


def trial(number, *, method="me+gd", best=None, full=None):
    settings = {"method": method, "train.lr": 0.000123456}
    state = "complete" if best else "failed"
    return TuneTrial(number=number, settings=settings, state=state, candidates=4, best=best, full=full, seconds=1.0)


@pytest.fixture
def section(results):  # noqa: F811
    def make(*, held=True, last=3, kept=0.96):
        found = TuneSummary(
            keep=0.9,
            held=held,
            chosen=2,
            kept=0.9345,
            searched={"method": ["me+gd", "idk+ap"], "train.lr": {"low": 1e-5, "high": 1e-3, "log": True}},
            questions_searched={"retain": 60, "forget": 40},
            questions_reported={"retain": 59, "forget": 40},
            forget_note="Paraphrased <b>questions</b>.",
            trials=[
                trial(1, method="idk+ap", best=candidate(0.99, 0.3)),
                trial(2, best=candidate(0.97, 0.8), full=candidate(kept, 0.81)),
                trial(last),
            ],
        )
        done = results(0.5).model_copy(update={"tune": found})
        return tune_section(ReportRun(Path("x"), "run", "paper", "", results=done))

    return make


def test_the_sentences(section):
    text = " ".join(section().sentences)
    shares = ("0.9 of the utility", "0.960", "0.940", "0.934")
    for part in ("Trial 2 of 3", *shares, "60 of retain", "59 of retain", "1.645"):
        assert part in text
    assert "nearest" not in text
    assert "Without a result" not in text
    missed = " ".join(section(held=False).sentences)
    assert "nearest" in missed
    assert "--keep" in missed


@pytest.mark.parametrize("held", [True, False])
def test_lost_trials_are_counted(section, held):
    text = " ".join(section(held=held, last=5).sentences)
    assert "rial 2 of 5" in text
    assert "Without a result, as its process was killed or has not ended: 2 trials." in text


def test_the_table_has_the_chosen_one_first_and_failed_ones_last(section):
    table = section().table
    assert [row[0] for row in table.rows] == ["2 (chosen)", "1", "3"]
    assert table.rows[0][1:] == ["me+gd", "0.000123", "4", "0.960", "0.940", "0.810", "all"]
    assert table.rows[2][3] == "failed"


def test_no_share_is_below_zero(section):
    assert section(kept=0.01).table.rows[0][5] == "0.000"
    assert "only 0.000 can be promised" in " ".join(section(held=False, kept=0.01).sentences)


def test_the_chart_has_a_point_for_each_trial_with_a_model(section):
    chart = section().chart
    assert chart["keep"] == 0.9
    assert [(group["name"], len(group["points"])) for group in chart["groups"]] == [("idk+ap", 1), ("chosen", 1)]
    (chosen,) = chart["groups"][-1]["points"]
    assert (chosen["x"], chosen["y"]) == (0.96, 0.81), "the full scores"


def test_other_runs_have_none(results):  # noqa: F811
    assert tune_section(ReportRun(Path("x"), "run", "paper", "", results=results(0.5))) is None
