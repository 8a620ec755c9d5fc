"""What a run's folder says about how the run was made: config.yaml, manifest.json and model_answers.jsonl."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import BaseModel

from efface.artifacts import Manifest
from efface.run.folder import RunFolder
from efface.run.model_answers import write_answers


class RunMetadata:
    """Writes the settings and the manifest of one folder. The manifest changes here and nowhere else.

    Nothing is written before `start`, so that a run which is refused leaves no files. From then on the manifest on
    disk is always up to date.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: BaseModel,
        manifest: Manifest,
        *,
        model_answers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what `start` will write.

        Args:
            folder: The folder of a run, a queue, a fine-tuning or an evaluation.
            config: Its settings.
            manifest: What `make_manifest` or `resume_manifest` returned.
            model_answers: Id of a generic question -> the model's answer, where these are the retain set.
        """
        self._folder = folder
        self._config = config
        self._manifest = manifest
        self._model_answers = model_answers
        self._started = False

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is now."""
        return self._manifest

    def start(self) -> None:
        """Write everything; from here on the run can be resumed. Further calls do nothing.

        Raises:
            EffaceError: A file cannot be written.
        """
        if self._started:
            return
        self._folder.start(self._config, self._manifest)
        if self._model_answers is not None:
            write_answers(self._folder, self._model_answers)
        self._started = True

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall-clock seconds of the block to those of a stage; a block that fails is not counted."""
        start = time.perf_counter()
        yield
        seconds = self._manifest.seconds
        total = round(seconds.get(name, 0) + time.perf_counter() - start, 3)
        self._update(seconds={**seconds, name: total})

    def set_peak_memory(self, peak: int | None) -> None:
        """Record the most memory in use at once, in bytes; None where it was not measured."""
        self._update(peak_memory_bytes=peak)

    def _update(self, **values: object) -> None:
        self._manifest = self._manifest.model_copy(update=values)
        if self._started:
            self._folder.write_manifest(self._manifest)
