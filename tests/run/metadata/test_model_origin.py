"""License and base model from the card of the model before unlearning."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.run.metadata.model_origin import Origin, model_origin


@pytest.mark.parametrize(
    ("card", "base", "license_"),
    [
        ("---\nlicense: apache-2.0\nbase_model: someone/small\n---\n\n# A model\n", "someone/small", "apache-2.0"),
        ("---\nlicense: apache-2.0\n---\n", None, "apache-2.0"),
        ("---\nlicense: [mit, gpl]\nbase_model:\n- a/b\n- c/d\n---\n", None, None),
        ("---\nlicense: 'x\\n\\n# injected'\nbase_model: ../../etc\n---\n", None, None),
        ("---\n: broken: yaml: [\n---\n", None, None),
        ("# A model\n", None, None),
        (None, None, None),
    ],
)
def test_a_folder(tmp_path: Path, card: str | None, base: str | None, license_: str | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert model_origin(str(tmp_path)) == Origin(base_model=base, license=license_)


def test_a_name_on_the_hub_is_the_base_model() -> None:
    assert model_origin("someone/never-downloaded@main") == Origin(base_model="someone/never-downloaded", license=None)
