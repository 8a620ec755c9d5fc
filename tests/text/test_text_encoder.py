"""Parts of a text as the tokenizer tokenizes the whole text."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from efface.errors import EffaceError
from efface.text.text_encoder import TextEncoder
from support.messages import assert_names
from support.templates import byte_level, sentencepiece_like

KINDS = {
    "byte-level": byte_level,
    "sentencepiece": sentencepiece_like,
    "metaspace": lambda: sentencepiece_like(prepend="start"),
}


@pytest.fixture(params=KINDS)
def encoder(request):
    return TextEncoder(KINDS[request.param]())


def tokens(encoder, ids):
    return encoder.tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("text", ["Ab", "\nA", " A", "</s>"])
def test_a_continuation_has_no_space_of_the_tokenizer(encoder, text):
    ids = encoder.continuation(text)
    assert encoder.tokenizer.decode([*encoder.plain_text("x"), *ids]) == "x" + text
    assert encoder.plain_text("x" + text) == encoder.plain_text("x") + ids


def test_pieces_are_tokenized_as_the_whole_text(encoder):
    pieces = ["<s>user", "Q A", "<|eot_id|>bot: ", "b"]
    assert encoder.mixed(pieces) == encoder.template_text(["".join(pieces)])[0]


def test_special_tokens_of_a_template_alone_are_special(encoder):
    ids = encoder.mixed(["<s>a", "</s>", "b</s>"])
    found = tokens(encoder, ids)
    assert (found[0], found[-1]) == ("<s>", "</s>")
    assert encoder.tokenizer.decode(ids).replace(" ", "") == "<s>a</s>b</s>"
    assert found.count("</s>") == 1
    assert (encoder.has_special("a</s>"), encoder.has_special("a</s")) == (True, False)


def test_the_text_before_a_special_token(encoder):
    (end,) = encoder.template_text(["</s>"])[0]
    assert encoder.before_special(" \n</s>\n<s>") == (" \n", end)
    assert encoder.before_special(" a") == (" a", None)


def test_special_tokens_take_the_white_space_that_they_take_in_the_tokenizer():
    from tokenizers import AddedToken

    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<r>", rstrip=True, special=True), AddedToken("<l>", lstrip=True, special=True)])
    encoder = TextEncoder(tokenizer)
    for pieces in (["a<r>", " b", " <l>c"], ["<r> a <l> b"]):
        assert encoder.mixed(pieces) == encoder.template_text(["".join(pieces)])[0]
    assert encoder.before_special("a <l>")[0] == "a"


def test_two_threads_use_the_tokenizer_one_after_the_other():
    """A long training tokenizes in a thread, and whether special tokens are split is a state of the tokenizer."""
    encoder, using = TextEncoder(byte_level()), []
    tokenizer = encoder.tokenizer

    def watched(*arguments, **options):
        assert not using
        using.append(1)
        time.sleep(0.01)
        using.pop()
        return tokenizer(*arguments, **options)

    encoder.tokenizer = watched
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(encoder.template_text, ["</s>"]), pool.submit(encoder.plain_text, "</s>")]
    assert [each.result() for each in made] == [[[tokenizer.convert_tokens_to_ids("</s>")]], encoder.plain_text("</s>")]


def test_a_regular_expression_that_tries_too_many_ways_is_refused():
    from tokenizers import Regex, pre_tokenizers

    tokenizer = byte_level()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("(a+)+b"), "isolated"), tokenizer.backend_tokenizer.pre_tokenizer]
    )
    encoder = TextEncoder(tokenizer)
    for encode in (encoder.plain_text, lambda text: encoder.template_text([text])):
        with pytest.raises(EffaceError) as raised:
            encode("a" * 60)
        assert_names(str(raised.value), "tokenizer", "tokenizer.json", "regular expressions")
