from __future__ import annotations

import math

import torch

from efface.auditing.attack import ModelName
from efface.auditing.attacks.both_models import BothModels, guided_decode, guided_scores
from efface.auditing.subject import Subject
from support.audit_models import facts, knowing, load, not_knowing, run_on_all, subject


def test_scores_by_hand() -> None:
    before, after = torch.tensor([0.5, 0.3, 0.2 - 1e-4, 1e-4]).log(), torch.tensor([0.6, 0.1, 0.2, 0.1]).log()
    scores = guided_scores(before, after, guidance=2.0, plausible=3.0)
    assert scores[:3].tolist() == [float(2 * b - a) for b, a in zip(before[:3], after[:3], strict=True)]
    assert scores[3] == -math.inf  # 8.5 nats below the likeliest
    assert int(scores.argmax()) == 1  # what became less likely
    assert torch.allclose(guided_scores(before, after, guidance=1.0, plausible=math.inf), before)


def test_between_equal_models_the_model_decodes_as_it_does() -> None:
    model = subject(knowing())
    fact = facts(1)[0]
    [ids] = model.formatter.encode_prompts([fact.prompt])
    chosen = guided_decode(model.model, knowing(), ids, frozenset(model.formatter.stop_ids), max_new_tokens=20)
    assert [model.tokenizer.decode(chosen)] == model.answer([fact.prompt], max_new_tokens=20)
    short = guided_decode(model.model, knowing(), ids, frozenset(), max_new_tokens=3)
    assert short == chosen[:3]


def test_the_cache_changes_nothing() -> None:
    before, after, ids = load(), load("reference"), [5, 6, 7]
    chosen = guided_decode(before, after, ids, frozenset(), max_new_tokens=6)
    for count in range(6):
        with torch.no_grad():
            text = torch.tensor([ids + chosen[:count]])
            one, two = (model(text).logits[0, -1].log_softmax(-1) for model in (before, after))
        assert int(guided_scores(one, two).argmax()) == chosen[count]


def test_whoever_has_both_reads_what_the_unlearned_model_no_longer_says() -> None:
    subjects: dict[ModelName, Subject] = {"before": subject(knowing(), "before"), "after": subject(not_knowing())}
    rows = run_on_all(BothModels(), subjects)
    assert rows["before"] == []
    assert sum(bool(row.hit) for row in rows["after"]) >= 5
    scalars = BothModels().scalars(rows)
    assert scalars["rouge_before_after"] == 1
    assert (scalars["rouge_guided_after"] or 0) > (scalars["rouge_guided_other_after"] or 0)
    assert scalars["rouge_added_after"] == (scalars["rouge_guided_after"] or 0) - 1
    assert not BothModels.in_union
    assert BothModels().scalars({"after": []}) == {}
