"""Open a model as every command needs it: found, loaded, checked, and with the formatter for its prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.files.sums import check_folder
from efface.models.dtypes import evaluation_dtype
from efface.models.folder import combined_sha256, model_folder, model_sums
from efface.models.load import random_model
from efface.models.load_parallel import LoadedModel, load_to_evaluate, load_to_train
from efface.models.tokenizer import ModelTokenizer, NamedTokenizer, model_tokenizer
from efface.packing.forward import position_limit, vocabulary_size
from efface.packing.support import packing_unsupported_reason
from efface.progress.reporter import Reporter
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from efface.train.config import TrainConfig
from efface.train.distribution.parallel import ParallelModel

_PUBLISHED_FORMATS = {"tofu_ft_llama2-7b": "llama2"}
"""Name of a published target model, without its owner -> the `text.format` that it was trained with."""


@dataclass(frozen=True)
class OpenedModel:
    """A model in memory, with its tokenizer and its folder."""

    source: Path
    """The folder that it was loaded from."""
    sha256: str
    """Digest of that folder (`model_sha256`)."""
    parallel_model: ParallelModel
    """The model as several processes have it: whole or sharded."""
    tokenizer: Any
    named_tokenizer: NamedTokenizer | None
    """Where the tokenizer is from, if it is not from `source`."""
    formatter: PromptFormatter

    @property
    def model(self) -> Any:
        """The model of transformers; one that is sharded computes only through `parallel_model`."""
        return self.parallel_model.model


def open_model(
    name: str,
    text: TextConfig,
    *,
    tokenizer: str | None = None,
    device: torch.device,
    reporter: Reporter,
    evaluate: EvaluateConfig | None = None,
    random_seed: int | None = None,
) -> OpenedModel:
    """Load a model to evaluate, and check that it gives a batch of sequences the same logits as each sequence alone.

    Args:
        name: A local folder, or the name of a model on the Hugging Face hub.
        text: How questions and answers become tokens.
        tokenizer: Folder or hub name of its tokenizer; None if the model's folder has it.
        device: Where the model goes.
        reporter: Warned where the model's sequences have to be padded.
        evaluate: Precision of the weights, and whether several processes shard them; the defaults if None.
        random_seed: Seed of untrained weights to use in place of the stored ones; None for the stored ones.

    Returns:
        The model.

    Raises:
        EffaceError: For a model that cannot be used.
    """
    source, config = model_folder(name), evaluate or EvaluateConfig()
    loaded_tokenizer = model_tokenizer(source, tokenizer)
    dtype = evaluation_dtype(source, device, config.precision)
    with _hashed(source) as hashed:
        if random_seed is None:
            parallel_model = load_to_evaluate(source, config, dtype=dtype, device=device)
        else:
            parallel_model = ParallelModel(random_model(source, dtype=dtype, device=device, seed=random_seed))
    sums = hashed()
    check_folder(source, sums)
    _check_packing(parallel_model, name, reporter)
    warn_about_format(name, text.format, reporter)
    return _opened(source, text, parallel_model, loaded_tokenizer, sha256=combined_sha256(sums))


def open_to_train(
    name: str,
    text: TextConfig,
    config: TrainConfig,
    *,
    tokenizer: str | None = None,
    device: torch.device,
    reporter: Reporter,
) -> tuple[OpenedModel, LoadedModel]:
    """Load a model to train, not yet distributed, with the checks of `open_model`.

    Args:
        name: As in `open_model`.
        text: As in `open_model`.
        config: How to train, with the optimizer resolved.
        tokenizer: As in `open_model`.
        device: Where to train.
        reporter: As in `open_model`.

    Raises:
        EffaceError: For a model that cannot be used.
    """
    source = model_folder(name)
    loaded_tokenizer = model_tokenizer(source, tokenizer)
    with _hashed(source) as hashed:
        loaded = load_to_train(source, config, device)
    sums = hashed()
    check_folder(source, sums)
    parallel_model = ParallelModel(loaded.model)
    if loaded.skeleton is None:  # otherwise it is checked once its weights are read
        _check_packing(parallel_model, name, reporter)
    warn_about_format(name, text.format, reporter)
    return _opened(source, text, parallel_model, loaded_tokenizer, sha256=combined_sha256(sums)), loaded


@contextmanager
def _hashed(source: Path) -> Iterator[Callable[[], dict[str, str]]]:
    """What returns the digests of the model's files, which one process of each machine makes beside the block.

    Reading and hashing leave the interpreter free.
    """
    alone = distributed.world_size() == 1
    with ThreadPoolExecutor(max_workers=1) as beside:
        own = beside.submit(model_sums, source) if alone or distributed.local_rank() == 0 else None
        yield lambda: _of_this_machine(own) or model_sums(source)


def _of_this_machine(sums: Future[dict[str, str]] | None) -> dict[str, str] | None:
    """The digests that the first process of this machine has made; None where its ranks are not in a row."""
    by_rank = distributed.all_gather(None if sums is None else sums.result())
    first = distributed.rank() - distributed.local_rank() if len(by_rank) > 1 else 0
    return by_rank[first]


def _check_packing(parallel_model: ParallelModel, name: str, reporter: Reporter) -> None:
    try:
        reason = parallel_model.forward_in_step(packing_unsupported_reason)
    except torch.OutOfMemoryError as error:
        raise EffaceError(
            f"model {name} fits into the GPU's memory, but 26 tokens next to it do not; use device=cpu or a "
            "smaller model"
        ) from error
    if reason is not None:
        reporter.on_warning(f"{reason}; its sequences are padded in batches of similar length, which is slower")


def _opened(
    source: Path, text: TextConfig, parallel_model: ParallelModel, loaded: ModelTokenizer, *, sha256: str
) -> OpenedModel:
    model = parallel_model.model
    formatter = PromptFormatter(
        loaded.tokenizer,
        text,
        limit=position_limit(model),
        vocabulary=vocabulary_size(model),
        generation_stops=generation_stops(model),
    )
    return OpenedModel(
        source=source,
        sha256=sha256,
        parallel_model=parallel_model,
        tokenizer=loaded.tokenizer,
        named_tokenizer=loaded.named,
        formatter=formatter,
    )


def generation_stops(model: Any) -> tuple[int, ...]:
    """Ids of all tokens at which a model's generation settings and its config end an output.

    Args:
        model: A causal language model of transformers.

    Returns:
        Ids that the model knows, in ascending order; Llama 3 Instruct has several.
    """
    known = vocabulary_size(model)
    settings = (model.generation_config, model.config, model.config.get_text_config())
    given = [getattr(each, "eos_token_id", None) for each in settings]
    listed = [id_ for each in given for id_ in (each if isinstance(each, list | tuple) else [each])]
    ids = {id_ for id_ in listed if isinstance(id_, int)}  # a file may contain anything
    return tuple(sorted(id_ for id_ in ids if 0 <= id_ < known))


def warn_about_format(name: str, text_format: str, reporter: Reporter) -> None:
    """Warn if a published model was trained with another format of questions and answers.

    Args:
        name: Name or folder of the model, as given by the user.
        text_format: The setting `text.format`.
        reporter: Gets the warning.
    """
    trained = _PUBLISHED_FORMATS.get(Path(name.partition("@")[0]).name)
    if trained is not None and trained != text_format:
        reporter.on_warning(
            f"model {name} was trained with text.format={trained}, and this is text.format={text_format}: it sees "
            f"other tokens than in training; set text.format={trained} (recipe=published of a preset does)"
        )
