"""Answer log-probs are in the given order and do not depend on the budget, the mode or an adapter."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.packing import logprobs, support
from efface.packing.forward import cross_entropy_logprobs
from efface.packing.logprobs import answer_logprobs, answer_numbers, logprobs_and_predicted
from efface.text.sequence import TokenizedSequence


@pytest.mark.parametrize("max_tokens_per_forward", [1, 30, 10_000])
def test_the_budget_changes_nothing(llama, uneven, related, one_by_one, max_tokens_per_forward):
    with torch.no_grad():
        alone = one_by_one(llama, uneven + related)
    packed = answer_logprobs(llama, uneven + related, max_tokens_per_forward=max_tokens_per_forward)
    for ours, expected in zip(packed, alone, strict=True):
        assert ours == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("max_tokens_per_forward", [1, 10_000])
def test_prompts_of_one_question_may_differ_in_their_last_token(llama, one_by_one, max_tokens_per_forward):
    """A token across the border of prompt and answer belongs to either, and other answers do not have it."""
    items = [
        TokenizedSequence("plain", [5, 6, 7], [8, 9]),
        TokenizedSequence("crossing", [5, 6, 10], [8, 9], merged=True),
        TokenizedSequence("counted", [5, 6], [10, 8, 9], merged=True),
        TokenizedSequence("plain too", [5, 6, 7], [8, 4]),
    ]
    with torch.no_grad():
        alone = one_by_one(llama, items)
    packed = answer_logprobs(llama, items, max_tokens_per_forward=max_tokens_per_forward)
    for ours, expected in zip(packed, alone, strict=True):
        assert ours == pytest.approx(expected.tolist(), abs=1e-5)
    assert list(map(len, packed)) == [2, 2, 3, 2]
    assert packed[1] == pytest.approx(packed[2][1:], abs=1e-5)


ANSWERS = [
    TokenizedSequence(f"{question}/{answer}", [question] * 10, [5, 6, 10 + answer, 4, 4])
    for answer in range(4)
    for question in (20, 21, 22)
]
"""Four answers to each of three questions: per question 24 tokens of which 14 are predicted, or 60 if padded."""


@pytest.mark.parametrize(
    ("reason", "forwards", "heads"),
    [(None, [48, 24], [28, 14]), ("its layers mix tokens", [45, 45, 45, 45], [11, 13, 13, 11])],
    ids=["packed", "padded"],
)
def test_answers_share_their_question_and_the_budget_counts_it_once(llama, monkeypatch, reason, forwards, heads):
    monkeypatch.setattr(logprobs, "packing_unsupported_reason", lambda model: reason)
    monkeypatch.setattr(support, "packing_unsupported_reason", lambda model: reason)
    tokens, scored = [], []
    llama.model.register_forward_pre_hook(
        lambda _, __, inputs: tokens.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    llama.lm_head.register_forward_pre_hook(lambda _, inputs: scored.append(inputs[0].shape[0]))
    answer_logprobs(llama, ANSWERS, max_tokens_per_forward=48)
    assert tokens == forwards
    assert scored == heads


@pytest.fixture
def gpu(monkeypatch):
    """Emulate a GPU whose memory holds `limit` sequences at once."""

    def holding(limit):
        original = logprobs.hidden_states

        def limited(model, batch):
            if len(batch.sequences) > limit:
                raise torch.OutOfMemoryError
            return original(model, batch)

        monkeypatch.setattr(logprobs, "hidden_states", limited)

    return holding


def test_the_memory_of_the_gpu_changes_nothing(llama, uneven, gpu):
    expected = answer_logprobs(llama, uneven, max_tokens_per_forward=10_000)
    gpu(2)
    for ours, full in zip(answer_logprobs(llama, uneven, max_tokens_per_forward=10_000), expected, strict=True):
        assert ours == pytest.approx(full, abs=1e-5)


def test_a_sequence_that_does_not_fit_is_named(llama, uneven, gpu):
    gpu(0)
    llama.train()
    with pytest.raises(EffaceError) as error:
        answer_logprobs(llama, uneven, max_tokens_per_forward=10_000)
    named = ("40 tokens", "item '3'", "train.max_tokens_per_forward", "evaluate.max_tokens_per_forward", "device=cpu")
    assert all(words in str(error.value) for words in named)
    assert llama.training


def test_a_batch_is_packed_while_the_one_before_is_computed(llama, monkeypatch):
    done = []

    def recorded(name):
        function = getattr(logprobs, name)
        return lambda *given, **named: done.append(name) or function(*given, **named)

    for name in ("pack", "hidden_states"):
        monkeypatch.setattr(logprobs, name, recorded(name))
    ours = answer_numbers(
        llama,
        ANSWERS,
        cross_entropy_logprobs,
        max_tokens_per_forward=25,
        on_batch=lambda numbers: done.append(f"{len(numbers)} read"),
    )
    assert done == ["pack", *["hidden_states", "pack", "4 read"] * 2, "hidden_states", "4 read"]
    together = answer_logprobs(llama, ANSWERS, max_tokens_per_forward=1000)
    for batched, expected in zip(ours, together, strict=True):
        assert batched == pytest.approx(expected, abs=1e-5)


def test_only_the_answer_is_scored(llama):
    ids = [5, 6, 7, 8, 9]
    (complete,) = answer_logprobs(llama, [TokenizedSequence("a", ids[:1], ids[1:])], max_tokens_per_forward=100)
    (tail,) = answer_logprobs(llama, [TokenizedSequence("a", ids[:3], ids[3:])], max_tokens_per_forward=100)
    assert tail == pytest.approx(complete[2:], abs=1e-5)


def test_no_sequences_have_no_logprobs(llama):
    assert answer_logprobs(llama, [], max_tokens_per_forward=100) == []


def test_dropout_is_off_and_the_mode_is_restored(random_model, uneven):
    from transformers import GPT2Config

    model = random_model(GPT2Config(vocab_size=97, n_embd=32, n_layer=1, n_head=4, n_positions=64))
    quiet = answer_logprobs(model, uneven, max_tokens_per_forward=1000)
    model.train()
    assert answer_logprobs(model, uneven, max_tokens_per_forward=1000) == quiet
    assert model.training


def test_an_adapter_stays_active(llama, uneven, one_by_one):
    peft = pytest.importorskip("peft")
    base = answer_logprobs(llama, uneven, max_tokens_per_forward=1000)
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(llama, config).eval()
    ours = answer_logprobs(adapted, uneven, max_tokens_per_forward=1000)
    with torch.no_grad():
        alone = one_by_one(adapted, uneven)
    for packed, expected, before in zip(ours, alone, base, strict=True):
        assert packed == pytest.approx(expected.tolist(), abs=1e-5)
        assert packed != pytest.approx(before, abs=1e-3)
    with adapted.disable_adapter():
        assert answer_logprobs(adapted, uneven, max_tokens_per_forward=1000) == base


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_every_process_makes_the_same_number_of_forwards(llama, uneven, monkeypatch, world_size):
    """A sharded model needs all processes for each forward; together they read every sequence."""
    monkeypatch.setattr(logprobs.distributed, "world_size", lambda: world_size)
    batches = []
    for rank in range(world_size):
        monkeypatch.setattr(logprobs.distributed, "rank", lambda rank=rank: rank)
        batches.append(logprobs._batches_of_rank(llama, uneven, 30))
    assert len({len(each) for each in batches}) == 1
    assert {index for each in batches for batch in each for index in batch} == set(range(len(uneven)))


@pytest.mark.parametrize("max_tokens_per_forward", [1, 10_000])
def test_which_tokens_are_predicted(llama, max_tokens_per_forward):
    ids = [5, 6, 7]
    for _ in range(4):
        with torch.no_grad():
            ids.append(int(llama(torch.tensor([ids])).logits[0, -1].argmax()))
    other = [(each + 1) % 11 for each in ids]
    items = [
        TokenizedSequence("greedy", ids[:3], ids[3:]),
        TokenizedSequence("first wrong", ids[:3], [other[3], *ids[4:]]),
        TokenizedSequence("last wrong", ids[:3], [*ids[3:6], other[6]]),
    ]
    made = answer_numbers(llama, items, logprobs_and_predicted, max_tokens_per_forward=max_tokens_per_forward)
    predicted = [[value for _, value in tokens] for tokens in made]
    assert predicted[0] == [1, 1, 1, 1]
    assert predicted[1][0] == 0
    assert predicted[2] == [1, 1, 1, 0]
    expected = answer_logprobs(llama, items, max_tokens_per_forward=max_tokens_per_forward)
    assert [[value for value, _ in tokens] for tokens in made] == expected
