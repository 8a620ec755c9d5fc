from __future__ import annotations

from efface.auditing.fact import Row
from efface.auditing.measures.chance import chance
from support.audited import facts, key_fact_rule, row_of


def counted(row: Row) -> bool:
    return True


COUNTED = {"plain": counted, "a": counted}


def test_an_output_that_says_everything_is_always_a_chance_hit() -> None:
    audited = facts(4)
    everything = " ".join(each.key_fact or "" for each in audited)
    rows = {"plain": [row_of(each, hit=True, output=everything) for each in audited]}
    found = chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0)
    assert found.union == found.attacks["plain"] == 1.0


def test_right_answers_are_no_chance_hits() -> None:
    audited = facts(4)
    rows = {"plain": [row_of(each, hit=True, output=each.answer) for each in audited]}
    assert chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0).union == 0.0


def test_one_answer_for_all_is_a_hit_for_the_share_of_those_that_it_suits() -> None:
    audited = facts(5)
    rows = {"plain": [row_of(each, hit=False, output="Turku") for each in audited]}
    found = chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0)
    assert found.union is not None
    assert 0.1 < found.union < 0.3  # of five facts, four have Turku as partner with probability 1/4


def test_a_union_of_attacks_has_more_chance_hits() -> None:
    audited = facts(6)
    outputs = ("Turku", "Bergen", "Lyon")
    rows = {name: [row_of(each, hit=False, attack=name, output=name) for each in audited] for name in outputs}
    found = chance(
        rows,
        audited,
        key_fact_rule(audited),
        counts={name: lambda row: row.output in outputs[:2] for name in outputs},
        seed=0,
    )
    assert found.union is not None
    shares = [found.attacks[name] or 0 for name in outputs]
    assert max(shares[:2]) < found.union <= sum(shares[:2]) + 1e-9


def test_what_the_attack_shows_is_no_chance_hit() -> None:
    audited = facts(2)
    rows = {"a": [row_of(audited[0], hit=False, output="Bergen", shown=(audited[1].id,))]}
    assert chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0).union is None
    rows["a"].append(row_of(audited[1], hit=False, output="Turku"))
    assert chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0).union == 1.0


def test_an_attack_is_compared_on_the_facts_that_it_was_tried_on() -> None:
    audited = facts(4)
    everything = " ".join(each.key_fact or "" for each in audited)
    rows = {
        "plain": [row_of(each, hit=False, output="") for each in audited],
        "a": [row_of(audited[0], hit=True, attack="a", output=everything)],
    }
    found = chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0)
    assert found.attacks == {"plain": 0.0, "a": 1.0}
    assert found.union == 0.25


def test_a_fact_alone_of_its_type_has_no_chance() -> None:
    audited = facts(1)
    rows = {"plain": [row_of(audited[0], hit=True, output="Turku")]}
    assert chance(rows, audited, key_fact_rule(audited), counts=COUNTED, seed=0).union is None
