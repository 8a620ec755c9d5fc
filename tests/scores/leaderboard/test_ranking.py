"""Ranks, significant differences and Pareto optimality."""

from __future__ import annotations

import pytest

from efface.artifacts.audit import AuditResults
from efface.scores import score_records
from efface.scores.definitions import CLOSER_LOOK, TOFU
from efface.scores.leaderboard.ranking import Board, ScoredModel, board
from efface.scores.means import harmonic_mean
from support.answered import Sets, answered, values_of
from support.audit_results import attack, results

KNOWS = {"answer_logprobs": [-0.1], "cosine_answer": 0.9, "entailment_label": "entailment"}
FORGETS = {"answer_logprobs": [-3.0], "cosine_answer": 0.1, "entailment_label": "neutral"}


def model(seed: int, retain: dict[str, object], forget: dict[str, object], n: int = 30) -> Sets:
    sets = answered(seed, n, ("retain",), **retain) | answered(seed, n, ("forget",), **forget)
    return {name: [row.model_copy(update={"output": row.answer}) for row in rows] for name, rows in sets.items()}


def ranked(models: dict[str, Sets], definition: object = CLOSER_LOOK, draws: int = 300) -> Board:
    contestants = [
        ScoredModel(name=name, kind="run", method=None, sets=values_of(sets, definition))  # type: ignore[arg-type]
        for name, sets in models.items()
    ]
    return board(contestants, definition, draws=draws, seed=0)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Board:
    return ranked(
        {
            "collapsed": model(1, FORGETS, FORGETS | {"answer_logprobs": [-9.0], "cosine_answer": 0.0}),
            "before": model(3, KNOWS, KNOWS),
            "weak": model(3, KNOWS | {"answer_logprobs": [-0.5]}, FORGETS),
            "good": model(3, KNOWS, FORGETS),
            "twin": model(3, KNOWS, FORGETS),
        }
    )


def test_models_are_ranked_by_the_harmonic_mean(found: Board) -> None:
    plain = score_records(model(3, KNOWS, FORGETS), "closer-look")
    first = found.rows[0]
    assert first.name == "good"
    assert first.model_utility is not None
    assert first.forget_efficacy is not None
    assert first.harmonic_mean is not None
    assert plain.model_utility is not None
    assert plain.forget_efficacy is not None
    assert first.model_utility.value == plain.model_utility
    assert first.forget_efficacy.value == plain.forget_efficacy
    assert first.harmonic_mean.value == harmonic_mean([plain.model_utility, plain.forget_efficacy])
    for each in (first.model_utility, first.forget_efficacy, first.harmonic_mean):
        assert each.low < each.value < each.high
    rouge = first.sets["retain"]["rouge"]
    assert rouge is not None
    assert (rouge.low, rouge.value, rouge.high) == (1, 1, 1)
    assert found.questions == {"retain": 30, "forget": 30}
    assert (found.partial, found.not_comparable_reason) == (None, None)


def test_equal_models_share_a_rank_and_do_not_differ_significantly(found: Board) -> None:
    ranks = {row.name: (row.rank, row.ranks) for row in found.rows}
    assert ranks["good"] == ranks["twin"] == (1, (1, 2))
    assert sorted(rank for rank, _ in ranks.values() if rank) == [1, 1, 3, 4, 5]
    (pair,) = [each for each in found.pairs if {each.first, each.second} == {"good", "twin"}]
    assert (pair.difference.low, pair.difference.high, pair.significant) == (0, 0, False)
    assert len(found.pairs) == 10


def test_a_paired_difference_is_more_precise_than_two_intervals() -> None:
    """The same questions are hard for both: their intervals overlap, and that of their difference excludes 0."""
    one = answered(4, 60)
    worse = {
        name: [row.model_copy(update={"answer_logprobs": [x - 0.05 for x in row.answer_logprobs]}) for row in rows]
        for name, rows in one.items()
        if name != "forget"
    }
    found = ranked({"worse": worse | {"forget": one["forget"]}, "one": one})
    first, second = found.rows
    assert first.harmonic_mean is not None
    assert second.harmonic_mean is not None
    assert second.harmonic_mean.high > first.harmonic_mean.low
    assert [row.ranks for row in found.rows] == [(1, 1), (2, 2)]
    assert [row.name for row in found.rows] == ["one", "worse"]
    (pair,) = found.pairs
    assert pair.significant
    assert pair.difference.high < 0


def test_pareto_optimal_models(found: Board) -> None:
    """`before` equals `good` in utility, `weak` equals it in efficacy; `collapsed` has the highest efficacy."""
    rows = {row.name: row for row in found.rows}
    utility = {name: row.model_utility.value for name, row in rows.items() if row.model_utility}
    efficacy = {name: row.forget_efficacy.value for name, row in rows.items() if row.forget_efficacy}
    assert utility["collapsed"] < utility["before"] == utility["good"]
    assert efficacy["before"] < efficacy["good"] == efficacy["weak"] < efficacy["collapsed"]
    assert utility["weak"] < utility["good"]
    assert {name: row.pareto_optimal for name, row in rows.items()} == {
        "collapsed": True, "before": False, "weak": False, "good": True, "twin": True,
    }  # fmt: skip


def test_aggregates_are_partial_if_one_model_has_not_all_metrics() -> None:
    found = ranked({"whole": answered(1), "no judge": answered(2, entailment_label=None, judge=None)})
    assert found.partial == ["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity"]
    plain = score_records(answered(2, entailment_label=None, judge=None), "closer-look").partial
    row = next(row for row in found.rows if row.name == "no judge")
    assert row.model_utility is not None
    assert row.forget_efficacy is not None
    assert (row.model_utility.value, row.forget_efficacy.value) == (plain.model_utility, plain.forget_efficacy)
    assert row.sets["retain"]["entailment"] is None
    whole = next(row for row in found.rows if row.name == "whole")
    assert whole.sets["retain"]["entailment"] is not None


def test_without_efficacy_there_are_no_ranks() -> None:
    found = ranked({"low": model(1, FORGETS, KNOWS), "high": model(2, KNOWS, KNOWS)}, TOFU)
    assert [(row.name, row.rank, row.ranks, row.pareto_optimal) for row in found.rows] == [
        ("high", None, None, False),
        ("low", None, None, False),
    ]
    assert found.pairs == []
    assert found.rows[0].model_utility is not None


def test_a_forget_set_alone_has_no_ranks() -> None:
    found = ranked({"a": answered(1, names=("forget",))})
    (row,) = found.rows
    assert (row.rank, row.model_utility) == (None, None)
    assert row.forget_efficacy is not None


def test_the_order_of_records_does_not_matter() -> None:
    one, other = answered(1, 20), answered(2, 20)
    reversed_ = {name: rows[::-1] for name, rows in other.items()}
    straight, shuffled = ranked({"one": one, "other": other}), ranked({"one": one, "other": reversed_})
    assert shuffled == straight


def audited(*found: AuditResults | None) -> Board:
    contestants = [
        ScoredModel(
            name=str(number),
            kind="run",
            method=None,
            audit=each,
            sets=values_of(model(number, KNOWS, FORGETS), CLOSER_LOOK),
        )
        for number, each in enumerate(found)
    ]
    return board(contestants, CLOSER_LOOK, draws=100, seed=0)


def test_what_equal_audits_brought_back_stands_beside_the_scores() -> None:
    shown = audited(results(11, 34), results(3, 34), None)
    recoverable = {row.name: row.recoverable and row.recoverable.value for row in shown.rows}
    assert recoverable == {"0": pytest.approx(11 / 34), "1": pytest.approx(3 / 34), "2": None}
    assert not shown.audits_differ


def test_audits_with_other_attacks_are_not_compared() -> None:
    more = results(attacks={**results().attacks, "sample": attack(0.2)})
    for other in (more, results(level="standard"), results(seeds=[0, 1])):
        shown = audited(results(), other)
        assert all(row.recoverable is None for row in shown.rows)
        assert shown.audits_differ


def test_numbers_without_hits_do_not_matter_for_the_comparison() -> None:
    fewer = results(attacks={name: each for name, each in results().attacks.items() if each.in_union})
    assert not audited(results(), fewer).audits_differ
