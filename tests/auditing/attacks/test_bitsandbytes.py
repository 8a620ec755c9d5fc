from __future__ import annotations

import pytest
import torch

from efface.auditing.attack import Unit
from efface.auditing.attacks import bitsandbytes as module
from efface.auditing.attacks.bitsandbytes import Bitsandbytes
from efface.auditing.attacks.quantize import Quantize
from efface.errors import EffaceError
from support.audit_models import context, facts, knowing, subject
from support.messages import assert_names


def test_only_full_has_it() -> None:
    attack = Bitsandbytes()
    assert attack.units("quick") == attack.units("standard") == []
    assert [unit.variant for unit in attack.units("full")] == ["nf4", "fp4", "int8"]


def test_on_a_cpu_it_is_left_out_with_a_sentence() -> None:
    asked = facts(2)
    with pytest.raises(EffaceError) as error:
        Bitsandbytes().run(subject(knowing()), asked, Unit("nf4"), context(asked, {}))
    assert_names(str(error.value), "CUDA", "quantize")


def test_where_it_is_available_it_asks_as_quantize_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(module, "why_not_available", lambda device: None)
    asked, attacks = facts(3), (Quantize(), Bitsandbytes())
    ours, theirs = (attack.run(subject(knowing()), asked, Unit("nf4"), context(asked, {})) for attack in attacks)
    assert {row.attack for row in theirs} == {"bitsandbytes"}
    assert [(row.fact, row.hit, row.output) for row in theirs] == [(row.fact, row.hit, row.output) for row in ours]
    assert all(row.numbers["answer_logprob"] > -0.1 for row in theirs)


@pytest.mark.gpu
def test_on_a_gpu_a_model_says_what_it_knows() -> None:
    pytest.importorskip("bitsandbytes")
    asked, model = facts(), knowing().to(torch.device("cuda"))
    for unit in Bitsandbytes().units("full"):
        rows = Bitsandbytes().run(subject(model), asked, unit, context(asked, {}))
        assert [row.hit for row in rows] == [True] * 6, unit
