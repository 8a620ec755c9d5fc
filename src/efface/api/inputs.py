"""Objects given to the library, written to the run's folder: the run can be repeated from the folder alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from efface.data.config import DataConfig, FileConfig
from efface.data.readers.python_rows import to_json_lines
from efface.errors import EffaceError
from efface.files.atomic import atomic_folder, write_text
from efface.models.folder import model_sha256
from efface.models.lora import has_adapters
from efface.models.quantization import is_quantized
from efface.models.tokenizer import load_tokenizer, tokenizer_folder
from efface.progress.quiet_libraries import quiet_libraries
from efface.run.folder import RunFolder


class Inputs:
    """Rows and a model that are written to a run's folder before it starts, and removed if the run is refused."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._rows: dict[str, str] = {}
        """Purpose (`forget`, `retain`, `request-1` and so on) -> the rows as JSON lines."""
        self._model: tuple[Any, Any] | None = None

    def model(self, model: Any, tokenizer: Any) -> dict[str, str]:
        """The setting `model`, and `tokenizer` where it is given by name.

        Args:
            model: A path or name, or a transformers model.
            tokenizer: The tokenizer of a model object, or a path or name.

        Returns:
            The model's path or name as given, or the folder that an object will be written to together with its
            tokenizer.

        Raises:
            EffaceError: The object is not a complete, unquantized causal language model, or its tokenizer is missing.
        """
        named = isinstance(tokenizer, str | os.PathLike)
        if isinstance(model, str | os.PathLike):
            if tokenizer is not None and not named:
                raise EffaceError(
                    "tokenizer is an object, and model a path or name; give the folder or name of the tokenizer, or "
                    "leave it out if the model's folder has one"
                )
            return {"model": os.fspath(model)} | ({"tokenizer": os.fspath(tokenizer)} if named else {})
        if has_adapters(model) or getattr(model, "_hf_peft_config_loaded", False):
            raise EffaceError("model has adapters; merge them with merge_and_unload() first")
        if is_quantized(model):
            raise EffaceError("model has quantized weights; give the folder or name of the unquantized model")
        if named:
            tokenizer = load_tokenizer(tokenizer_folder(os.fspath(tokenizer)))
        _check_objects(model, tokenizer)
        self._model = model, tokenizer
        return {"model": str(self._folder.before)}

    def data(self, data: Any, forget: Any, retain: Any) -> Any:
        """The setting `data`, with the files of `forget` and `retain` merged into it.

        Args:
            data: A benchmark's name or settings of the data.
            forget: The forget set, if it is not in `data`.
            retain: The retain set, if it is not in `data`.

        Raises:
            EffaceError: The forget set is missing or given twice, or an argument has another type.
        """
        given = {key: file for key, file in (("forget", forget), ("retain", retain)) if file is not None}
        if data is None and not given:
            raise EffaceError("there is nothing to forget; give forget=FILE or rows, or a benchmark as data=...")
        if isinstance(data, DataConfig):
            data = data.model_dump(exclude_defaults=True)
        if data is not None and not given and not isinstance(data, Mapping):
            return data
        if data is not None and not isinstance(data, Mapping):
            raise EffaceError("forget= and retain= do not go with a benchmark; leave them out or leave data= out")
        settings = dict(data or {})
        for purpose, file in given.items():
            if settings.get(purpose) is not None:
                raise EffaceError(f"{purpose} is given twice, as {purpose}= and in data=; leave one out")
            settings[purpose] = file
        if not isinstance(settings.get("refusals"), str | os.PathLike | None):
            settings["refusals"] = self._refusals(settings["refusals"])
        return {
            key: self._file(key, value) if key in ("forget", "retain") else value for key, value in settings.items()
        }

    def requests(self, requests: Sequence[Any]) -> list[Any]:
        """The setting `continual.requests`.

        Args:
            requests: Numbers of tasks, files or rows, in order.

        Raises:
            EffaceError: One of them has another type.
        """
        if not isinstance(requests, list | tuple):
            raise EffaceError(
                f"requests is of type {type(requests).__name__}; give a list, of files, rows or numbers of tasks"
            )
        return [
            each if isinstance(each, int) else self._file(f"request-{number}", each)
            for number, each in enumerate(requests, 1)
        ]

    @contextmanager
    def written(self, config: BaseModel, *, resume: bool) -> Iterator[None]:
        """Write the objects to the run's folder for the block; if no run is started in it, remove them again.

        Args:
            config: The run's settings.
            resume: Whether the folder may contain a run of the same settings.

        Raises:
            EffaceError: The folder contains something else, or a resumed run was started with other rows or another
                model.
        """
        with self._folder.claimed(config, resume=resume):
            self._check_no_other_inputs(resume=resume)
            try:
                self._write()
                yield
            except BaseException as error:
                if self._folder.config.is_file():
                    raise
                self._remove()
                if isinstance(error, EffaceError):
                    raise EffaceError(self.in_caller_terms(str(error))) from error
                raise

    def _file(self, purpose: str, given: Any) -> Any:
        """The setting `data.forget` or `data.retain`, or one of `continual.requests`."""
        if given is None or isinstance(given, str | FileConfig):
            return given
        if isinstance(given, os.PathLike):
            return os.fspath(given)
        settings = dict(given) if isinstance(given, Mapping) else {"rows": given}
        if ("path" in settings) == ("rows" in settings):
            raise EffaceError(
                f"{purpose} is a mapping, which must have either a path or rows, such as {{'rows': [...], 'columns': "
                "{'question': ...}}; put a single row into a list, and give one split of a dataset"
            )
        if "rows" in settings:
            self._rows[purpose] = to_json_lines(purpose, settings.pop("rows"))
            return {**settings, "path": str(self._path(purpose))}
        if not isinstance(settings["path"], str | os.PathLike):
            raise EffaceError(f"{purpose}: its path is of type {type(settings['path']).__name__}; give rows as 'rows'")
        return {**settings, "path": os.fspath(settings["path"])}

    def _refusals(self, given: Any) -> str:
        """The setting `data.refusals` for a list of texts."""
        texts = list(given) if isinstance(given, Sequence) else None
        if texts is None or not all(isinstance(each, str) and len(each.splitlines()) == 1 for each in texts):
            raise EffaceError(
                f"data['refusals'] is of type {type(given).__name__}; give a file with one refusal a line, or a list "
                "of texts of one line each"
            )
        self._rows["refusals"] = "".join(f"{each}\n" for each in texts)
        return str(self._path("refusals"))

    def _path(self, purpose: str) -> Path:
        return self._folder.inputs / (f"{purpose}.txt" if purpose == "refusals" else f"{purpose}.jsonl")

    def _check_no_other_inputs(self, *, resume: bool) -> None:
        """Overwrite nothing that another call or another program has written."""
        paths = [self._folder.inputs] if self._rows else []
        paths += [self._folder.before] if self._model else []
        for path in paths:
            if path.exists() and not resume:
                raise EffaceError(
                    f"--out {self._folder.root} contains {path.name}/ and no run; remove it or choose another folder"
                )

    def _write(self) -> None:
        started = self._folder.config.is_file()
        for purpose, text in self._rows.items():
            path = self._path(purpose)
            if started and path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
                raise EffaceError(f"--resume: {purpose} has other rows than {path}; give the same ones")
            write_text(path, text)
        if self._model is not None and started and self._folder.before.is_dir():
            _check_same_model(*self._model, self._folder.before)
        elif self._model is not None:
            with atomic_folder(self._folder.before) as partial:
                _save(*self._model, partial)

    def _remove(self) -> None:
        """Remove what was written; the lock removes the folders that were made for it."""
        if self._rows:
            shutil.rmtree(self._folder.inputs, ignore_errors=True)
        if self._model:
            shutil.rmtree(self._folder.before, ignore_errors=True)

    def in_caller_terms(self, sentence: str) -> str:
        """A message with the names that the caller used: `forget` and `row` in place of a file of this class.

        Args:
            sentence: A warning, or the message of an error.
        """
        for purpose in self._rows:
            path = str(self._path(purpose))
            columns = f"data.{'retain' if purpose == 'retain' else 'forget'}.columns."
            if path not in sentence and purpose not in ("forget", "retain"):
                continue  # data.forget is then another request
            sentence = sentence.replace(f"{path}, line ", f"{purpose}, row ").replace(path, purpose)
            if columns in sentence:
                sentence = sentence.replace(columns, "columns.")
                sentence += f" (give settings with the rows: {purpose}={{'rows': ..., 'columns': {{'question': ...}}}})"
        return sentence


def _check_objects(model: Any, tokenizer: Any) -> None:
    """Refuse objects other than a causal language model of transformers and its tokenizer."""
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    name = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise EffaceError(f"model is of type {name}; give a folder, a name on the hub, or a transformers model")
    generates = model.can_generate() and model.get_output_embeddings() is not None
    if not generates or getattr(model.config, "is_encoder_decoder", False):
        raise EffaceError(
            f"model is of type {name}, which is not a causal language model; load it with AutoModelForCausalLM"
        )
    if tokenizer is None:
        raise EffaceError("model is an object; also give its tokenizer as tokenizer=...")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise EffaceError(
            f"tokenizer is of type {type(tokenizer).__name__}; give the model's, as AutoTokenizer loads it"
        )


def _check_same_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Refuse a model other than the one that was written to `folder`."""
    with TemporaryDirectory(dir=folder.parent, suffix=".partial") as folder_again:
        _save(model, tokenizer, Path(folder_again))
        if model_sha256(Path(folder_again)) != model_sha256(folder):
            raise EffaceError(f"--resume: the model is not the one in {folder}; give the same one")


@quiet_libraries()
def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer without changing the model object."""
    from transformers import GenerationConfig

    generation, model.generation_config = model.generation_config, GenerationConfig()
    settings = dict(vars(model.config))
    try:  # transformers refuses to save generation settings that many published models have
        model.save_pretrained(folder)
    finally:  # and changes the model's config: its dtype becomes a string
        model.generation_config = generation
        vars(model.config).clear()
        vars(model.config).update(settings)
    generation.to_json_file(folder / "generation_config.json")
    tokenizer.save_pretrained(folder)
