"""The most used architectures, small and random: losses, outputs, and runs that are saved, resumed and adapted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file

import efface
from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.evaluation.generate import generate
from efface.models.load import load_model
from efface.models.quantization import check_trainable_weights
from efface.models.save import save_model
from efface.models.tokenizer import load_tokenizer
from efface.packing.support import check_packing
from efface.progress.reporter import SilentReporter
from efface.run import pipeline, unlearning_stage
from efface.schema import Prompt, Turn
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.train.config import TrainConfig
from support.sizes import DENSE, LINEAR

GOLDEN = Path(__file__).parents[1] / "golden" / "model"
CPU = torch.device("cpu")
TOKENS = 512  # of the tokenizer
PADDED = 544

SIZES = DENSE | {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
MHA = SIZES | {"num_key_value_heads": 4}
MQA = SIZES | {"num_key_value_heads": 1}
EVEN = SIZES | {"intermediate_size": 32}  # as blocks of 4-bit weights need
EXPERTS = {"num_experts_per_tok": 2, "num_local_experts": 4}
WINDOW = 12  # shorter than the sequences
HALF_SLIDING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
GEMMA = HALF_SLIDING | {"head_dim": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": True}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "bos_token_id": 1, "eos_token_id": 1}
NEOX = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
SEES_IMAGES = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
ASKS = "{% if add_generation_prompt %}<assistant>{% endif %}"
CHAT = TURNS + ASKS
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHAT


@dataclass(frozen=True)
class Architecture:
    """A model and its tokenizer's habits; `adapted_with` is the method of the run with LoRA, `rows` how it is read."""

    config: Callable[[], Any]
    adapted_with: str
    chat: str | None = None
    bos: bool = True
    rows: bool = False


ARCHITECTURES = {
    "llama": Architecture(lambda: hf.LlamaConfig(vocab_size=TOKENS, **SIZES), "idk+ap", chat=CHAT),
    "mistral": Architecture(
        lambda: hf.MistralConfig(vocab_size=TOKENS, **SIZES, sliding_window=WINDOW), "npo+kl", chat=NO_SYSTEM
    ),
    "qwen2": Architecture(
        lambda: hf.Qwen2Config(vocab_size=PADDED, **SIZES, tie_word_embeddings=True), "idk+ap", chat=CHAT, bos=False
    ),
    "qwen3": Architecture(lambda: hf.Qwen3Config(vocab_size=PADDED, **SIZES, head_dim=16), "npo+kl", bos=False),
    "qwen3-moe": Architecture(
        lambda: hf.Qwen3MoeConfig(
            vocab_size=PADDED, **SIZES, head_dim=16, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2
        ),
        "idk+ap",
        bos=False,
    ),
    "gemma2": Architecture(lambda: hf.Gemma2Config(vocab_size=TOKENS, **MQA, **GEMMA), "npo+kl", chat=NO_SYSTEM),
    "gemma3": Architecture(lambda: hf.Gemma3TextConfig(vocab_size=PADDED, **SIZES, **GEMMA), "idk+ap", chat=NO_SYSTEM),
    "gemma3 with images": Architecture(
        lambda: hf.Gemma3Config(
            text_config=hf.Gemma3TextConfig(vocab_size=PADDED, **SIZES, **GEMMA).to_dict(),
            vision_config=SEES_IMAGES,
            mm_tokens_per_image=4,
            image_token_id=PADDED - 1,
        ),
        "npo+kl",
    ),
    "phi3": Architecture(lambda: hf.Phi3Config(vocab_size=PADDED, **MHA, sliding_window=WINDOW), "npo+kl"),
    "gpt2": Architecture(lambda: hf.GPT2Config(vocab_size=TOKENS, **GPT2), "idk+ap", bos=False),
    "gpt-neox": Architecture(lambda: hf.GPTNeoXConfig(vocab_size=PADDED, **NEOX), "npo+kl", bos=False),
    "olmo2": Architecture(lambda: hf.Olmo2Config(vocab_size=PADDED, **MHA), "idk+ap", bos=False),
    "mixtral": Architecture(lambda: hf.MixtralConfig(vocab_size=TOKENS, **SIZES, **EXPERTS), "npo+kl"),
    "gpt-oss": Architecture(
        lambda: hf.GptOssConfig(vocab_size=PADDED, **EVEN, **EXPERTS, **HALF_SLIDING, head_dim=16), "idk+ap", chat=CHAT
    ),
    # not packed, but read in rows
    "qwen3.5": Architecture(
        lambda: hf.Qwen3_5TextConfig(vocab_size=PADDED, **SIZES, **LINEAR, head_dim=16),
        "npo+kl",
        chat=CHAT,
        bos=False,
        rows=True,
    ),
    "llama4": Architecture(
        lambda: hf.Llama4TextConfig(
            vocab_size=PADDED, **SIZES, head_dim=16, intermediate_size_mlp=48, num_local_experts=2
        ),
        "idk+ap",
        rows=True,
    ),
    "bloom": Architecture(
        lambda: hf.BloomConfig(
            vocab_size=TOKENS, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1, pad_token_id=1
        ),
        "idk+ap",
        bos=False,
        rows=True,
    ),
    "mamba": Architecture(
        lambda: hf.MambaConfig(
            vocab_size=TOKENS,
            hidden_size=32,
            num_hidden_layers=2,
            bos_token_id=1,
            eos_token_id=1,
            pad_token_id=1,
            tie_word_embeddings=False,
        ),
        "npo+kl",
        bos=False,
        rows=True,
    ),
}


def save(architecture: Architecture, folder: Path) -> Path:
    """A model whose weights are so large that what one token does to another shows, and a tokenizer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # vectors keep what they are made with, which is random in state spaces
        model = hf.AutoModelForCausalLM.from_config(architecture.config()).float()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    model.save_pretrained(folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(GOLDEN)
    if not architecture.bos:
        tokenizer.bos_token = None
        tokenizer.backend_tokenizer.post_processor = None
    tokenizer.chat_template = architecture.chat
    tokenizer.save_pretrained(folder)
    return folder


QUICK = ("llama", "mamba")
"""Runs of these are among the quick tests; the numbers of all are."""


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return ARCHITECTURES[request.param]


runs_of_each = pytest.mark.parametrize(
    "architecture",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES],
    indirect=True,
)


@pytest.fixture
def source(architecture, tmp_path):
    return save(architecture, tmp_path / "source")


def form(architecture):
    return TextConfig(format="chat" if architecture.chat else "plain")


def formatter(architecture, folder):
    return PromptFormatter(load_tokenizer(folder), form(architecture))


def plain(folder):
    """As others load it; `sdpa`, the default, leaves out what Gemma 2 does to its scores in some versions."""
    return hf.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")


def load(folder):
    return load_model(folder, dtype=torch.float32, device=CPU)


# The numbers


def views(make):
    """Two forget and two retain items of different lengths."""
    rows = [("f1", Prompt("Who wrote the book about rivers?"), "Ann Lee wrote it."), ("f2", Prompt("When?"), "In 1904")]
    kept = [("r1", Prompt("Is the sea deep?"), "Yes, in most places it is deep."), ("r2", Prompt("Why?"), "No reason.")]
    return {name: make.encode(items) for name, items in (("forget", rows), ("retain", kept))}


def by_hand(model, reference, sequences):
    """NPO and KL as their papers write them, from the models' own forwards of one sequence at a time."""

    def answers(which, item):
        logits = which(torch.tensor([item.prompt + item.answer]), use_cache=False).logits[0]
        return logits[len(item.prompt) - 1 : -1].float().log_softmax(-1)

    def summed(which, item):
        return answers(which, item).gather(1, torch.tensor(item.answer)[:, None]).sum()

    ratios = [summed(model, item) - summed(reference, item) for item in sequences["forget"]]
    npo = torch.stack([-(2 / 0.1) * F.logsigmoid(-0.1 * ratio) for ratio in ratios]).mean()
    ours, theirs = (torch.cat([answers(which, item) for item in sequences["retain"]]) for which in (model, reference))
    return npo, (theirs.exp() * (theirs - ours)).sum(-1).mean()


def test_losses_and_outputs_are_those_of_transformers(architecture, source):
    model, reference, make = load(source), load(source), formatter(architecture, source)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    assert (check_packing(model) is not None) == architecture.rows
    sequences = views(make)
    rows = {name: [{"prompt": it.prompt, "answer": it.answer} for it in items] for name, items in sequences.items()}
    with torch.no_grad():
        ours = efface.losses(model, rows, "npo+kl", reference=reference)
        npo, kl = by_hand(model, reference, sequences)
    torch.testing.assert_close((ours.forget, ours.retain), (npo, kl), rtol=1e-4, atol=1e-6)

    asked = [Prompt("Who wrote it?"), Prompt("Where is the house of the old painter?"), Prompt("Why?")]
    said = generate(model, make, asked, max_new_tokens=9, max_cache_tokens=1000)
    assert len({tuple(output.token_ids) for output in said}) > 1
    for prompt, output in zip(make.encode_prompts(asked), said, strict=True):
        own = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=9, eos_token_id=list(make.stop_ids)
        )[0, len(prompt) :].tolist()
        assert output.token_ids == [id_ for id_ in own if id_ not in make.stop_ids]


def test_tokens_that_the_tokenizer_lacks_are_said_and_scored_as_nothing(tmp_path):
    """After maximizing entropy, a padded vocabulary's spare ids are as likely as all others."""
    source = save(ARCHITECTURES["qwen3"], tmp_path / "source")
    model, make = load(source), formatter(ARCHITECTURES["qwen3"], source)
    with torch.no_grad():
        model.lm_head.weight[TOKENS:] *= 50
    [output] = generate(model, make, [Prompt("Who wrote it?")], max_new_tokens=9, max_cache_tokens=100)
    assert min(output.token_ids) >= TOKENS
    assert output.text == ""


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    sizes = SIZES | {"vocab_size": 300}
    source = save(Architecture(lambda: hf.LlamaConfig(**sizes), "npo+kl"), tmp_path / "source")
    data = {"source": "synthetic-authors", "authors": 3, "forget_authors": 1}
    config = {"method": "me+gd", "model": str(source), "data": data, "text": {"format": "plain"}}
    with pytest.raises(
        EffaceError, match=r"item '.*': the tokenizer produces token \d+, but the model only knows tokens 0 to 299"
    ):
        pipeline.run(validate_config(RunConfig, config), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Runs


class Listening(SilentReporter):
    """Remembers the warnings."""

    def __init__(self):
        self.warned = []

    def on_warning(self, text):
        self.warned.append(text)


class Dying(SilentReporter):
    """Dies after the third step, as the process would."""

    def on_step(self, log):
        if log.step == 3:
            raise KeyboardInterrupt


@pytest.fixture
def config(architecture, source, tmp_path):
    """The settings of a run on four questions, asked under a system prompt where there is a chat template."""
    system = [Turn(role="system", content="Be brief.").model_dump()] if architecture.chat else []
    for name, answers in (("forget", ["Ann", "In Oslo", "Red and blue", "Two"]), ("retain", ["Yes", "No", "So", "Ok"])):
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for number, answer in enumerate(answers):
                turns = [{"role": "user", "content": f"Is it {number}?"}, {"role": "assistant", "content": answer}]
                file.write(json.dumps({"messages": [*system, *turns]}) + "\n")

    def make(**changes):
        settings = {
            "method": "me+gd",
            "model": str(source),
            "data": {"forget": str(tmp_path / "forget.jsonl"), "retain": str(tmp_path / "retain.jsonl")},
            "text": form(architecture).model_dump(),
            "train": {"lr": 3e-3, "epochs": 2, "batch_size": 2, "warmup_steps": 0, "save_steps": 1},
            "evaluate": {"embedder": "none", "judge": "key-facts", "max_new_tokens": 3, "limit": 2},
        }
        return validate_config(RunConfig, merge_settings(settings, changes))

    return make


@pytest.fixture
def logits_when_saved(monkeypatch):
    """Those of each model that a run trained, before it is written."""
    seen = []
    write = unlearning_stage.save_trained

    def watched(trained, *arguments, **settings):
        seen.append(logits(trained.model))
        write(trained, *arguments, **settings)

    monkeypatch.setattr(unlearning_stage, "save_trained", watched)
    return seen


@torch.no_grad()
def logits(model):
    return model.eval()(torch.tensor([[5, 60, 7, 8, 90, 11, 12, 13]])).logits.clone()


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@runs_of_each
def test_a_run_is_saved_for_transformers_and_resumed(architecture, config, source, tmp_path, logits_when_saved):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    listening = Listening()
    pipeline.run(config(), whole, reporter=listening)
    assert any("padded in batches of similar length" in text for text in listening.warned) == architecture.rows
    unlearned = plain(whole / "model")
    torch.testing.assert_close(logits(unlearned), logits_when_saved[0], rtol=1e-5, atol=1e-5)
    original = load(source)
    assert (logits(unlearned) - logits(original)).abs().max() > 1e-2
    assert type(unlearned) is type(original)
    assert {name for name, _ in unlearned.named_parameters()} == {name for name, _ in original.named_parameters()}
    with pytest.raises(KeyboardInterrupt):
        pipeline.unlearn(config(), cut, reporter=Dying())
    assert (cut / "checkpoints" / "step-000002").is_dir()
    pipeline.unlearn(config(), cut, resume=True)
    assert weights(cut / "model") == weights(whole / "model")


def test_weights_that_are_published_in_four_bits_alone(tmp_path):
    """GPT-OSS: its experts are made whole, trained, and saved whole."""
    folder = save(ARCHITECTURES["gpt-oss"], tmp_path / "source")
    weights = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = weights.pop(name).shape
        size = (experts, outputs, inputs // 32)
        weights[f"{name}_blocks"] = torch.randint(256, (*size, 16), dtype=torch.uint8, generator=generator)
        weights[f"{name}_scales"] = torch.full(size, 124, dtype=torch.uint8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    rounded = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head", "model.layers.*.self_attn"]}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": rounded}))
    model = load(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    check_trainable_weights(folder, model, TrainConfig())
    expected = logits(model)
    save_model(model, load_tokenizer(folder), tmp_path / "model", source=folder, name="gpt-oss")
    torch.testing.assert_close(logits(load(tmp_path / "model")), expected)
    assert "quantization_config" not in json.loads((tmp_path / "model" / "config.json").read_text())


@runs_of_each
def test_an_adapter_for_peft(architecture, config, source, tmp_path, logits_when_saved):
    from peft import PeftModel

    out = tmp_path / "run"
    pipeline.run(config(method=architecture.adapted_with, train={"lora": {"r": 2, "dropout": 0.1}}), out)
    targets = json.loads((out / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert not {"lm_head", "embed_out"} & set(targets)
    card = (out / "adapter" / "README.md").read_text()
    assert f"# Unlearned with {architecture.adapted_with}" in card
    assert "This is the LoRA adapter alone" in card
    on_base = PeftModel.from_pretrained(plain(source), out / "adapter")
    merged = plain(out / "model")
    torch.testing.assert_close(logits(on_base), logits_when_saved[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(merged), logits_when_saved[0], rtol=1e-3, atol=1e-4)
    assert (logits(merged) - logits(load(source))).abs().max() > 1e-2
