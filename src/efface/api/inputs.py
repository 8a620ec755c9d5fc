"""What the library is given as objects, as files in the run's folder: from there alone the run can be repeated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from efface.atomic import atomic_folder, write_text
from efface.data.config import DataConfig, FileConfig
from efface.data.readers.python_rows import to_json_lines
from efface.errors import EffaceError
from efface.models.folder import model_sha256
from efface.models.lora import has_adapters
from efface.models.quantization import is_quantized
from efface.progress.quiet_libraries import quiet_libraries
from efface.run.folder import RunFolder


class Inputs:
    """Rows and a model that go into a run's folder before it starts, and leave it where the run is refused."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._rows: dict[str, str] = {}
        """What they are for, `forget`, `retain` or `request-1` and so on -> the rows as JSON lines."""
        self._model: tuple[Any, Any] | None = None

    def model(self, model: Any, tokenizer: Any) -> str:
        """The setting `model`: as it was given, or the folder where an object will lie.

        Raises `EffaceError` for what is no whole model of transformers that writes text, and for an object without
        its tokenizer.
        """
        if isinstance(model, str | os.PathLike):
            if tokenizer is not None:
                raise EffaceError("tokenizer= goes with a model object; the folder of a model brings its own")
            return os.fspath(model)
        if has_adapters(model) or getattr(model, "_hf_peft_config_loaded", False):
            raise EffaceError("model holds adapters; merge them with merge_and_unload() first")
        if is_quantized(model):
            raise EffaceError("model holds rounded weights; give the folder or name of the whole ones")
        _check_objects(model, tokenizer)
        self._model = model, tokenizer
        return str(self._folder.before)

    def data(self, data: Any, forget: Any, retain: Any) -> Any:
        """The setting `data`, with the files to forget and to keep in it where these were given apart.

        Raises `EffaceError` where nothing or two things are given to forget, and for what are no rows.
        """
        given = {key: file for key, file in (("forget", forget), ("retain", retain)) if file is not None}
        if data is None and not given:
            raise EffaceError("there is nothing to forget; give forget=FILE or rows, or a benchmark as data=...")
        if isinstance(data, DataConfig):
            data = data.model_dump(exclude_defaults=True)
        if data is not None and not given and not isinstance(data, Mapping):
            return data
        if data is not None and not isinstance(data, Mapping):
            raise EffaceError("forget= and retain= go with files of your own; leave them out or leave data= out")
        settings = dict(data or {})
        for purpose, file in given.items():
            if settings.get(purpose) is not None:
                raise EffaceError(f"{purpose} is given twice, by itself and in data; leave one out")
            settings[purpose] = file
        return {
            key: self._file(key, value) if key in ("forget", "retain") else value for key, value in settings.items()
        }

    def requests(self, requests: Sequence[Any]) -> list[Any]:
        """The setting `continual.requests`. Raises `EffaceError` for what is neither a number, a file nor rows."""
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
        """Have everything in the run's folder inside of the block; where no run starts there, nothing stays.

        Raises `EffaceError` where the folder holds something else, and, on `resume`, where other rows or another
        model are given than those that the run was started with.
        """
        self._folder.check(config, resume=resume)
        self._refuse_strangers(resume=resume)
        missing = [path for path in (self._folder.root, *self._folder.root.parents) if not path.exists()]
        try:
            self._write()
            yield
        except BaseException as error:
            if self._folder.config.is_file():
                raise
            self._remove(missing)
            if isinstance(error, EffaceError):
                raise EffaceError(self.named(str(error))) from error
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
                f"{purpose} is a mapping, which must hold either a path or rows, such as {{'rows': [...], 'columns': "
                "{'question': ...}}; put a lone row into a list, and of a dataset with splits give one"
            )
        if "rows" in settings:
            self._rows[purpose] = to_json_lines(purpose, settings.pop("rows"))
            return {**settings, "path": str(self._path(purpose))}
        if not isinstance(settings["path"], str | os.PathLike):
            raise EffaceError(f"{purpose}: its path is of type {type(settings['path']).__name__}; give rows as 'rows'")
        return {**settings, "path": os.fspath(settings["path"])}

    def _path(self, purpose: str) -> Path:
        return self._folder.inputs / f"{purpose}.jsonl"

    def _refuse_strangers(self, *, resume: bool) -> None:
        """Overwrite nothing that another call, or somebody else, has put there."""
        mine = [self._folder.inputs] if self._rows else []
        mine += [self._folder.before] if self._model else []
        for path in mine:
            if path.exists() and not resume:
                raise EffaceError(
                    f"--out {self._folder.root} holds {path.name}/ and no run; remove it or choose another folder"
                )

    def _write(self) -> None:
        started = self._folder.config.is_file()
        for purpose, text in self._rows.items():
            path = self._path(purpose)
            if started and path.is_file() and path.read_text(encoding="utf-8") != text:
                raise EffaceError(f"--resume: {purpose} holds other rows than {path}; give the same ones")
            write_text(path, text)
        if self._model is not None and started and self._folder.before.is_dir():
            _refuse_another(*self._model, self._folder.before)
        elif self._model is not None:
            with atomic_folder(self._folder.before) as beside:
                _save(*self._model, beside)

    def _remove(self, missing: list[Path]) -> None:
        """Take away what was written, and the folders made for it."""
        if self._rows:
            shutil.rmtree(self._folder.inputs, ignore_errors=True)
        if self._model:
            shutil.rmtree(self._folder.before, ignore_errors=True)
        for path in missing:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def named(self, sentence: str) -> str:
        """Name rows, and the settings that name their columns, as the caller does: the file of the rows is gone."""
        for purpose in self._rows:
            path = str(self._path(purpose))
            columns = f"data.{'retain' if purpose == 'retain' else 'forget'}.columns."
            if path not in sentence and purpose not in ("forget", "retain"):
                continue  # what is said of data.forget is said of another request
            sentence = sentence.replace(f"{path}, line ", f"{purpose}, row ").replace(path, purpose)
            if columns in sentence:
                sentence = sentence.replace(columns, "columns.")
                sentence += f" (settings go beside the rows: {purpose}={{'rows': ..., 'columns': {{'question': ...}}}})"
        return sentence


def _check_objects(model: Any, tokenizer: Any) -> None:
    """Raise `EffaceError` for objects that are no language model of transformers and its tokenizer."""
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    name = type(model).__name__
    if not isinstance(model, PreTrainedModel):
        raise EffaceError(f"model is of type {name}; give a folder, a name on the hub, or a model of transformers")
    writes = model.can_generate() and model.get_output_embeddings() is not None
    if not writes or getattr(model.config, "is_encoder_decoder", False):
        raise EffaceError(
            f"model is of type {name}, which is no causal language model; load it with AutoModelForCausalLM"
        )
    if tokenizer is None:
        raise EffaceError("model is an object; give its tokenizer, too, as tokenizer=...")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise EffaceError(
            f"tokenizer is of type {type(tokenizer).__name__}; give that of the model, as AutoTokenizer loads it"
        )


def _refuse_another(model: Any, tokenizer: Any, folder: Path) -> None:
    """Raise `EffaceError` where the model is not the one that was written to `folder`."""
    with TemporaryDirectory(dir=folder.parent, suffix=".partial") as again:
        _save(model, tokenizer, Path(again))
        if model_sha256(Path(again)) != model_sha256(folder):
            raise EffaceError(f"--resume: the model is not the one in {folder}; give the same one")


@quiet_libraries()
def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer; the model comes out as it went in."""
    from transformers import GenerationConfig

    generation, model.generation_config = model.generation_config, GenerationConfig()
    settings = dict(vars(model.config))
    try:  # transformers refuses to write settings for generation that many published models have
        model.save_pretrained(folder)
    finally:  # and writes into the model's own settings: its dtype as a text
        model.generation_config = generation
        vars(model.config).clear()
        vars(model.config).update(settings)
    generation.to_json_file(folder / "generation_config.json")
    tokenizer.save_pretrained(folder)
