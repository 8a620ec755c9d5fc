from __future__ import annotations

from typing import Any

import pytest

from efface.auditing.config import AuditConfig, AuditSettings
from efface.auditing.registry import not_tried, select_attacks
from efface.config.parse import validate_config
from efface.config.resolve import resolve_config
from efface.errors import EffaceError
from support.audited import Whisper
from support.messages import assert_names


def names(*chosen: str, plugins: Any = ()) -> list[str]:
    config = validate_config(AuditConfig, {"audit": {"attacks": list(chosen)}, "plugins": plugins})
    return [attack.name for attack in select_attacks(config.audit.attacks, config.plugins)]


def test_a_tier_has_those_below_it() -> None:
    asks, weights, both = names("asks"), names("weights"), names("both")
    assert asks == ["plain", "ask-otherwise", "first-words", "sample"]
    assert set(asks) < set(weights) <= set(both)
    assert "relearn" in weights


def test_names_choose_and_plain_is_always_there() -> None:
    assert names("relearn", "first-words") == ["plain", "relearn", "first-words"]


def test_a_users_attack_belongs_to_its_tier() -> None:
    assert names("asks", plugins=[Whisper])[-1] == "whisper"
    assert names("first-words", plugins=[Whisper]) == ["plain", "first-words"]


def test_a_users_attack_cannot_take_a_built_in_name() -> None:
    class Taken(Whisper):
        name = "relearn"

    with pytest.raises(EffaceError) as error:
        names("asks", plugins=[Taken])
    assert_names(str(error.value), "relearn", "another name")


def test_an_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(EffaceError) as error:
        names("first-word")
    assert_names(str(error.value), "first-word", "first-words", "audit.attacks")


def test_what_is_not_chosen_is_known() -> None:
    assert "relearn" in not_tried(select_attacks(["asks"]))
    assert "sample" not in not_tried(select_attacks(["asks"]))


def test_names_are_given_in_one_text() -> None:
    config = resolve_config(AuditConfig, None, ["audit.attacks=relearn, sample", "audit.minutes=3"])
    assert config.audit == AuditSettings(attacks=("relearn", "sample"), minutes=3)


@pytest.mark.parametrize("pair", ["audit.minutes=0", "audit.level=fast", "audit.attacks=[]", "audit.seed=-1"])
def test_impossible_settings_are_refused(pair: str) -> None:
    with pytest.raises(EffaceError) as error:
        resolve_config(AuditConfig, None, [pair])
    assert_names(str(error.value), pair.partition("=")[0])


def test_a_metric_is_no_attack() -> None:
    from efface.scores.custom import RecordMetric

    class Metric(RecordMetric):
        name = "metric"

        def score(self, record: object) -> float:
            return 0.0

    with pytest.raises(EffaceError) as error:
        names("asks", plugins=[Metric])
    assert_names(str(error.value), "efface.Attack")
