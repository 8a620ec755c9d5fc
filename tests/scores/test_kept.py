"""The share of its utility that a model kept, its bound, and when nothing is left to forget."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import binom

from efface.errors import EffaceError
from efface.records import Record
from efface.schema import OTHER_WORDS
from efface.scores import definition, score_records
from efface.scores.kept import check_reachable, facts_to_keep, is_gone, kept, lower_bound, lower_bound_of_facts, said
from support.messages import assert_names

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]


def record(set_, number, *, output=None, logp=-0.1, cosine=None):
    answer = " ".join(random.Random(f"{set_}{number}").sample(WORDS, 4))
    text = answer if output is None else output
    return Record(
        set=set_,
        id=f"{set_}/{number}",
        question=f"What is {number}?",
        answer=answer,
        output=text,
        output_token_ids=[1, 2, 3],
        retokenized_output_ids=[1, 2, 3],
        answer_logprobs=[logp] * 3,
        paraphrased_logprobs=None,
        perturbed_logprobs=[[-3.0] * 3, [-4.0] * 3],
        embedding_target=answer,
        embedder=None if cosine is None else "e",
        cosine_answer=cosine,
        cosine_before=cosine,
        entailment_target=answer,
        entailment_premise="output",
        judge=None,
        entailment_label=None,
        missing={"entailment": "no judge", **({} if cosine is not None else {"cosine_similarity": "no embedder"})},
    )


def records(*, forget=None, retain=None, n=40, **options):
    return {
        "retain": [
            record("retain", number, **((retain or {}) if number % 4 == 0 else {}), **options) for number in range(n)
        ],
        "forget": [record("forget", number, **(forget or {}), **options) for number in range(10)],
    }


CLOSER_LOOK = definition("closer-look")


def test_shares_are_those_of_the_scores():
    before, after = records(), records(retain={"logp": -1.0}, forget={"output": "no", "logp": -5.0})
    found = kept(before, after, CLOSER_LOOK, unseen=40)
    one, other = (score_records(each, "closer-look").partial for each in (before, after))
    assert found.utility == pytest.approx(other.model_utility)
    assert found.share == pytest.approx(other.model_utility / one.model_utility)
    assert found.forget_efficacy == pytest.approx(other.forget_efficacy)


def test_the_same_model_keeps_all_and_that_is_certain():
    found = kept(records(), records(), CLOSER_LOOK, unseen=40)
    assert (found.share, found.at_least) == (1.0, 1.0)


def with_facts(*, lost=0, n=50, output=None, logp=-0.1):
    """Records with known facts, of which the first `lost` have another output or log-probability."""
    facts = [
        record("known_facts", number, **({"output": output, "logp": logp} if number < lost else {}))
        for number in range(n)
    ]
    return {**records(retain={"logp": -9.0} if lost else None), "known_facts": facts}


def test_where_there_are_known_facts_these_alone_count():
    before = with_facts()
    assert (kept(before, with_facts(), CLOSER_LOOK, unseen=50).share) == 1.0
    for lost in ({"output": "no"}, {"logp": -3.5}):  # no longer said, no longer preferred
        found = kept(before, with_facts(lost=5, **lost), CLOSER_LOOK, unseen=50)
        assert (found.share, found.utility) == (0.9, 0.9)
        assert found.at_least == lower_bound_of_facts(45, 50)
        assert found.forget_efficacy == kept(records(), records(), CLOSER_LOOK, unseen=50).forget_efficacy
    assert kept(with_facts(lost=10, output="no"), with_facts(), CLOSER_LOOK, unseen=50).share == 1.0, "of those known"
    with pytest.raises(EffaceError, match=r"knows none of its known facts"):
        kept(with_facts(lost=50, output="no"), before, CLOSER_LOOK, unseen=50)


@pytest.mark.parametrize(("keep", "known", "refused"), [(0.95, 40, False), (0.95, 30, True), (0.8, 10, False)])
def test_a_bound_that_too_few_facts_can_show_is_refused(keep, known, refused):
    before = with_facts(n=50, lost=50 - known, output="no")
    assert len(facts_to_keep(before)) == known
    if refused:
        with pytest.raises(EffaceError) as raised:
            check_reachable(keep, before, most=64)
        assert_names(str(raised.value), f"keep={keep:g}", f"{known} facts", "data.known_facts")
    else:
        check_reachable(keep, before, most=64)
    check_reachable(0.999, records(), most=64)


def test_where_more_facts_cannot_help_a_lower_bound_does():
    with pytest.raises(EffaceError, match="lower keep") as raised:
        check_reachable(0.99, with_facts(n=50), most=50)
    assert "data.known_facts" not in str(raised.value)
    with pytest.raises(EffaceError, match="knows none of its known facts"):
        check_reachable(0.1, with_facts(n=50, lost=50, output="no"), most=64)


def test_a_fact_counts_once_in_two_wordings():
    before, after = with_facts(n=20), with_facts(n=20, lost=3, output="no")
    for each, lost in ((before, 0), (after, 2)):
        again = with_facts(n=20, lost=lost, output="no")["known_facts"]
        each["known_facts"] += [record.model_copy(update={"id": record.id + OTHER_WORDS}) for record in again]
    found = kept(before, after, CLOSER_LOOK, unseen=50)
    assert (found.share, found.utility) == (0.9, 0.9), "two of twenty are lost in both wordings"


@pytest.mark.parametrize("cosine", [None, 0.8])
def test_the_wording_of_a_models_own_answers_does_not_count(cosine):
    before = records(cosine=cosine)
    reworded = records(cosine=cosine, retain={"output": "in other words"})
    assert kept(before, reworded, CLOSER_LOOK, unseen=40).share < 0.95
    assert kept(before, reworded, CLOSER_LOOK, unseen=40, own_answers=True).share == 1.0
    unlikely = kept(before, records(cosine=cosine, retain={"logp": -2.0}), CLOSER_LOOK, unseen=40, own_answers=True)
    assert unlikely.share < 0.95
    assert unlikely.at_least < unlikely.share
    if cosine is not None:
        for each in (other := records(cosine=cosine))["retain"]:
            object.__setattr__(each, "cosine_answer", 0.4)
        assert kept(before, other, CLOSER_LOOK, unseen=40, own_answers=True).share < 0.95


def test_a_metric_that_one_side_lacks_is_left_out_of_both():
    with_cosine = records(cosine=0.2)
    assert kept(with_cosine, records(), CLOSER_LOOK, unseen=40).share == pytest.approx(1.0)


def test_the_margin_shrinks_with_more_questions():
    few, many = (kept(records(n=n), records(n=n, retain={"logp": -2.0}), CLOSER_LOOK, unseen=n) for n in (20, 200))
    assert few.share == pytest.approx(many.share, abs=0.02)
    assert 2.5 < (few.share - few.at_least) / (many.share - many.at_least) < 4, "by the root of 10"


def test_the_formula_of_the_bound():
    assert lower_bound(0.98, 0.01, asked=60, unseen=30) == pytest.approx(0.98 - 1.645 * 0.01 * math.sqrt(3))


@pytest.mark.parametrize(("asked", "bound"), [(2, 0.431), (10, 0.829), (57, 0.967)])
def test_few_facts_promise_little_also_where_all_were_kept(asked, bound):
    assert lower_bound_of_facts(asked, asked) == pytest.approx(bound, abs=5e-4)
    assert lower_bound_of_facts(asked - 1, asked) < bound


@pytest.mark.parametrize("facts", [10, 30, 57, 100])
def test_the_bound_of_facts_fails_about_once_in_twenty(facts):
    """Summed over all outcomes, for true shares of .8 to .995: the mean of the shares, since facts are few."""
    counts = np.arange(facts + 1)
    bounds = np.array([lower_bound_of_facts(int(count), facts) for count in counts])
    fails = [float(binom.pmf(counts, facts, share)[bounds > share].sum()) for share in np.arange(0.8, 0.996, 0.005)]
    assert np.mean(fails) <= 0.055
    assert max(fails) <= 0.15


def test_the_bound_holds_on_other_questions_nineteen_times_of_twenty():
    """Questions lose some probability at random; half of them are searched, the others reported."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        losses = rng.exponential(0.3, size=80)
        before = records(n=80)["retain"]
        after = [
            each.model_copy(update={"answer_logprobs": [-0.1 - loss] * 3})
            for each, loss in zip(before, losses, strict=True)
        ]
        forget = records()["forget"]
        halves = [
            ({"retain": before[part], "forget": forget}, {"retain": after[part], "forget": forget})
            for part in (slice(0, 40), slice(40, 80))
        ]
        searched, reported = (kept(*half, CLOSER_LOOK, unseen=40) for half in halves)
        held += reported.share >= searched.at_least
    assert held >= 54, "95 % of 60 are 57"


def test_a_model_without_any_utility_is_refused():
    broken = records(retain={}, forget={})
    zero = {name: [each.model_copy(update={"output": "no"}) for each in rows] for name, rows in broken.items()}
    with pytest.raises(EffaceError, match=r"utility of 0 .*model="):
        kept(zero, zero, CLOSER_LOOK, unseen=40)


def test_what_should_go_has_gone_when_outputs_are_as_far_as_other_answers():
    known, refused = records()["forget"], records(forget={"output": "I do not know"})["forget"]
    assert (said(known), said(refused)) == (1.0, 0.0)
    assert not is_gone(known)
    assert is_gone(refused)
    shifted = [
        each.model_copy(update={"output": other.answer})
        for each, other in zip(known, [*known[5:], *known[:5]], strict=True)
    ]
    assert is_gone(shifted), "it answers with what others are"


def test_what_is_repeated_in_another_script_has_not_gone():
    answers = ["Ада родилась в Турку.", "Иван живёт у моря."]
    rows = [
        record("forget", number).model_copy(update={"answer": answer, "output": answer})
        for number, answer in enumerate(answers)
    ]
    assert said(rows) == 1
    assert not is_gone(rows)
