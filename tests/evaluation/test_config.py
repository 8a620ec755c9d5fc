from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from efface.evaluation.config import EvaluateConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 0},
        {"max_cache_tokens": -1},
        {"precision": "float16"},
        {"max_tokens_per_forward": 0},
        {"limit": 0},
        {"embedder": " "},
        {"judge": ""},
        {"embeder": "offline"},
        {"every": "step"},
        {"every": "epoch", "select_epoch": "first"},
    ],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        EvaluateConfig(**settings)


def test_the_best_epoch_needs_scores_of_every_epoch():
    with pytest.raises(ValidationError, match=r"select_epoch=best chooses among epochs .*; add evaluate\.every=epoch"):
        EvaluateConfig(select_epoch="best")
    assert EvaluateConfig(every="epoch", select_epoch="best").select_epoch == "best"
    assert (EvaluateConfig().every, EvaluateConfig().select_epoch) == (None, "last")


def test_settings_and_records_need_no_torch():
    code = "import sys, efface.evaluation.config, efface.evaluation.record_files; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
