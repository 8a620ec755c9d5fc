"""A byte-level tokenizer, and chat templates like those of known models."""

from __future__ import annotations

from dataclasses import dataclass

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
NO_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Chat:
    """A template, special tokens of its tokenizer, and the expected texts of a question Q and an answer A."""

    template: str
    eos: str
    prompt: str
    answer: str
    adds_bos: bool = False


CHATS = {
    # template and tokenizer both write BOS; pad is EOS, which is part of the prompt
    "llama3": Chat(
        LLAMA3,
        "<|eot_id|>",
        "<s><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "A<|eot_id|>",
        adds_bos=True,
    ),
    # neither writes BOS
    "chatml": Chat(
        CHATML,
        "<|im_end|>",
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        "A<|im_end|>",
    ),
    # the turn ends with another token than the text
    "gemma": Chat(
        GEMMA,
        "</s>",
        "<s><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
        "A<end_of_turn>",
        adds_bos=True,
    ),
    # only the template writes BOS; the space before the answer belongs to the answer
    "mistral": Chat(MISTRAL, "</s>", "<s>[INST] Q [/INST]", " A</s>"),
    "qwen3": Chat(
        QWEN3,
        "<|im_end|>",
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "A<|im_end|>",
    ),
    # only the tokenizer writes BOS; the template ends no turn
    "no end": Chat(NO_END, "</s>", "<s>user: Q\nassistant:", " A\n</s>", adds_bos=True),
}

SPECIAL = [
    "<s>",
    "</s>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
]


def byte_level(*, merges=(), bos="<s>", eos="</s>", template=None, adds_bos=False):
    """A byte-level BPE tokenizer of all bytes and the merged tokens of `merges`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE(vocab={word: id_ for id_, word in enumerate(words)}, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos, pad_token=eos)
    tokenizer.chat_template = template
    return tokenizer


def sentencepiece_like(*, merges=(), prepend="text", template=None, adds_bos=True):
    """A BPE tokenizer of characters, with bytes for all others, that writes spaces as ▁.

    `prepend`: where it puts a space of its own: before every `text`, as Llama 2's (normalizer), or only at the `start`
    of a text, not after a special token (pre-tokenizer Metaspace).
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [*map(chr, range(33, 127)), "▁"]
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *("".join(pair) for pair in merges)]
    vocab = {word: id_ for id_, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=list(merges), unk_token="<unk>", byte_fallback=True))
    if prepend == "text":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = template
    return tokenizer


def text_of(formatter, ids):
    return formatter.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
