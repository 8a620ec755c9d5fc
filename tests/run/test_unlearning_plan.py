"""What a manifest says about the reference model."""

from __future__ import annotations

from pathlib import Path

from efface.run.unlearning_plan import ReferenceModel


def test_only_another_model_is_noted():
    assert ReferenceModel(Path("a"), "1" * 64, name=None).notes == ()
    noted = ReferenceModel(Path("a"), "1" * 64, name="some/model")
    assert noted.notes == (f"compared with some/model (sha256 {'1' * 64})",)
