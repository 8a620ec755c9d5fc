from __future__ import annotations

from efface.auditing.fact import text_of
from efface.schema import Prompt, Turn


def test_the_text_of_a_prompt_has_its_history() -> None:
    prompt = Prompt("Now?", (Turn(role="user", content="Before?"), Turn(role="assistant", content="Yes.")))
    assert text_of(prompt) == "Before?\nYes.\nNow?"
