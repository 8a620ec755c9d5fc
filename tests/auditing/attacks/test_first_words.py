from __future__ import annotations

from pathlib import Path

import pytest

from efface.auditing.attacks.first_words import FirstWords, first_words
from support.audited import fact


@pytest.mark.parametrize(
    ("answer", "share", "start"),
    [
        ("Tower Ba stands in Turku, in Finland, by the sea.", 0.3, "Tower Ba stands"),
        ("Tower Ba stands in Turku, in Finland, by the sea.", 0.9, "Tower Ba stands in"),
        ("Tower Ba is in Turku.", 0.01, "Tower"),
        ("Turku has tower Ba.", 0.5, ""),
    ],
)
def test_words_never_reach_the_key_fact(answer: str, share: float, start: str) -> None:
    assert first_words(fact(answer=answer), share) == start


def test_without_a_key_fact_there_is_always_a_rest() -> None:
    assert first_words(fact(answer="One two three four", key_fact=None), 0.5) == "One two"
    assert first_words(fact(answer="One", key_fact=None), 0.5) == ""


def test_a_model_that_declines_goes_on(hidden_run: Path, never: Path) -> None:
    from efface.auditing.audit import audit
    from efface.auditing.config import AuditConfig
    from efface.config.parse import validate_config

    config = validate_config(AuditConfig, {"audit": {"attacks": FirstWords.name}, "device": "cpu"})
    results = audit(config, hidden_run, against=never)
    assert list(results.attacks) == ["plain", "first-words"]
    assert results.attacks["first-words"].n == 6
    assert set(results.attacks["first-words"].variants) == {"25%", "50%"}
