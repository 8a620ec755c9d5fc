"""Segments between special tokens: the ids of the whole text, and each segment tokenized once."""

from __future__ import annotations

import pytest

from efface.schema import Prompt, Turn
from efface.text import segments
from efface.text.formatter import PromptFormatter, TextConfig
from efface.text.segments import SegmentTokenizer, separators_in
from support.templates import CHATS, byte_level

SPECIAL = ("<s>", "<end>")
MERGES = [("a", "b"), ("Ġ", "ab"), ("Ċ", "Ċ")]


class Recorded:
    """Letters as ids, special tokens as one id; remembers what it got."""

    def __init__(self, *, across=False):
        self.seen, self.across = [], across

    def __call__(self, texts):
        self.seen += texts
        return [self.ids(text) for text in texts]

    def ids(self, text):
        for number, token in enumerate(SPECIAL):
            text = text.replace(f"{token}\n", chr(number)) if self.across else text
            text = text.replace(token, chr(number))
        return [ord(letter) for letter in text]


def test_each_segment_is_tokenized_once():
    recorded = Recorded()
    tokenize = SegmentTokenizer(recorded, SPECIAL)
    recorded.seen.clear()
    texts = ["<s>user a<end>\n<s>assistant", "<s>user a<end>\n<s>assistant no", "before<s>user a<end>\n<s>assistant"]
    assert tokenize(texts) == [recorded.ids(text) for text in texts]
    assert recorded.seen == ["<s>user a", "<end>\n", "<s>assistant", "<s>assistant no", "before"]
    assert tokenize(texts[:1]) == [recorded.ids(texts[0])]
    assert len(recorded.seen) == 5


def test_a_token_that_takes_white_space_is_no_separator():
    recorded = Recorded(across=True)  # <s> and a newline after it are one token: ids of parts may differ from the whole
    tokenize = SegmentTokenizer(lambda texts: [[*ids, len(ids)] for ids in recorded(texts)], SPECIAL)
    recorded.seen.clear()
    tokenize(["<s>a<end>b"])
    assert recorded.seen == ["<s>a<end>b"]


def test_the_longer_of_two_tokens_separates():
    tokenize = SegmentTokenizer(lambda texts: [[1] * len(text) for text in texts], ["<s>", "<s>>"])
    assert tokenize._start.split("a<s>>b") == ["a", "<s>>b"]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(segments, "_MAX_SEGMENTS", 3)
    tokenize = SegmentTokenizer(Recorded())
    for texts in (["a", "b"], ["c", "d"], ["a", "d"]):
        assert tokenize(texts) == [[ord(text)] for text in texts]
        assert len(tokenize._known) <= 3


def test_no_texts():
    assert SegmentTokenizer(lambda texts: pytest.fail("called") if texts else [])([]) == []


def test_which_special_tokens_a_format_writes():
    tokenizer = byte_level(eos="<|im_end|>")
    assert separators_in(["a <|im_end|>"], tokenizer) == ["<|im_end|>"]
    assert separators_in(["a"], tokenizer) == []


@pytest.mark.parametrize("name", CHATS)
def test_ids_are_those_of_whole_texts(name):
    """With white space, other special tokens and merges around the segments."""
    chat = CHATS[name]
    tokenizer = byte_level(eos=chat.eos, template=chat.template, adds_bos=chat.adds_bos, merges=MERGES)
    formatter = PromptFormatter(tokenizer, TextConfig())
    questions = ("ab", " ab \n\n ab", f"ab {chat.eos}ab", "\n", "<s> ab")
    history = (Turn(role="user", content="ab"), Turn(role="assistant", content=" ab\n"))
    texts = [formatter._format.render(Prompt(each, turns)) for each in questions for turns in ((), history)]
    texts += [f"{text}{answer}" for text in texts for answer in ("ab", " ab", "\nab", f"ab{chat.eos} ab")]
    assert formatter._encoder.template_text(texts) == tokenizer(texts, add_special_tokens=False).input_ids
