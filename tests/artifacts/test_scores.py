"""Scores on disk: what is not known is not written, and keys of earlier versions are read."""

from __future__ import annotations

from efface.artifacts import Scores, SetScores


def test_custom_scores_are_written_only_if_there_are_any(set_scores):
    assert "custom" not in set_scores.model_dump()
    custom = set_scores.model_copy(update={"custom": {"length": 3.0}})
    assert custom.model_dump()["custom"] == {"length": 3.0}
    assert SetScores.model_validate(custom.model_dump()) == custom


def test_extraction_strength_is_written_only_if_it_is_known(set_scores):
    assert "extraction_strength" not in set_scores.model_dump()
    known = set_scores.model_copy(update={"extraction_strength": 0.0, "custom": {"length": 3.0}})
    assert known.model_dump()["extraction_strength"] == 0.0
    assert known.uncounted == {"extraction_strength": 0.0, "length": 3.0}


def test_the_key_of_an_earlier_version_is_read(set_scores):
    assert SetScores.model_validate({**set_scores.model_dump(), "own": {"length": 3.0}}).custom == {"length": 3.0}


def test_notes_are_written_only_if_there_are_any(scores):
    assert "notes" not in scores.model_dump()
    noted = scores.model_copy(update={"notes": {"token_entropy": "of other tokens"}})
    assert Scores.model_validate(noted.model_dump()) == noted
