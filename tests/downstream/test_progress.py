"""Progress, warnings and damaged answers while a task is scored."""

from __future__ import annotations

import pytest
import torch

from efface.downstream.harness import score_downstream
from efface.errors import EffaceError


def test_progress_is_reported_and_nothing_else_printed(model, tokenizer, local, capfd):
    calls = []

    def progress(*call):
        calls.append(call)
        print("reported")

    score_downstream(model, tokenizer, local("local_arc", "local_triviaqa"), seed=0, progress=progress)
    out, err = capfd.readouterr()
    assert out == "reported\n" * 20  # four choices of four questions, four texts
    assert err == ""
    assert [call for call in calls if call[1] == 4] == [("local_arc", 4, 4), ("local_triviaqa", 4, 4)]
    assert calls[0] == ("local_arc", 0, 4)


def test_truncated_prompts_are_reported(model, tokenizer, local):
    warnings: list[str] = []
    score_downstream(model, tokenizer, local("local_arc"), seed=0, warn=warnings.append)
    assert warnings == []
    model.config.max_position_embeddings = 60
    config = local("local_arc", "local_truthfulqa", "local_triviaqa", limit=1)
    score_downstream(model, tokenizer, config, seed=0, warn=warnings.append)
    assert [text.partition(":")[0] for text in warnings] == ["task local_truthfulqa", "task local_triviaqa"]
    assert all("60 tokens" in text and "truncated" in text for text in warnings)


def test_log_probabilities_that_are_not_numbers_are_refused(model, tokenizer, local):
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(EffaceError, match=r"task local_truthfulqa: .*not a number.*float32"):
        score_downstream(model, tokenizer, local("local_truthfulqa"), seed=0)  # its first choice is correct
