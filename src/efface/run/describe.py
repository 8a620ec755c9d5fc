"""How many tokens of a model the items of a task take, for `efface data describe`."""

from __future__ import annotations

from collections.abc import Sequence

from efface.data.describe import Lengths, Measure, lengths
from efface.run.models import load_tokenizer, model_config, model_folder
from efface.run.quiet import quiet_libraries
from efface.schema import Item
from efface.text.forward import positions
from efface.text.template import Formatter, TextConfig


@quiet_libraries()
def in_tokens(model: str, text: TextConfig) -> Measure:
    """Measure items in the tokens of `model`, all that a run would add included; the limit is that of a run.

    Of the model, only settings and tokenizer are read. Raises `EffaceError` where they cannot be used, and, from
    what is returned, for items that the format cannot show.
    """
    source = model_folder(model)
    limits = [n for n in (text.max_length, positions(model_config(source))) if n is not None]
    formatter = Formatter(load_tokenizer(source), text.model_copy(update={"max_length": None}))

    def measure(items: Sequence[Item]) -> Lengths:
        encoded = formatter.encode([(item.id, item.prompt, item.answer) for item in items])
        return lengths([len(each) for each in encoded], "tokens", min(limits, default=None))

    return measure
