"""What a run's folder says about how the run was made: config.yaml, manifest.json and model_answers.jsonl."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from efface.artifacts import Manifest
from efface.config.parse import to_yaml
from efface.files.atomic import atomic_file, record_in, to_json
from efface.files.sums import CHECKPOINTS, RECORDED, SUMS_FILE, file_sum, folder_sums, text_sum
from efface.main_process import on_main_process
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
        config: BaseModel | None,
        manifest: Manifest,
        *,
        model_answers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what `start` will write.

        Args:
            folder: The folder of a run, a queue, a fine-tuning or an evaluation.
            config: Its settings; None for a folder that was started before.
            manifest: What `make_manifest` or `resume_manifest` returned.
            model_answers: Id of a generic question -> the model's answer, where these are the retain set.
        """
        self._folder = folder
        self._config = config
        self._manifest = manifest
        if config is not None:
            self._manifest = manifest.model_copy(update={"config_sha256": text_sum(to_yaml(config))})
        self._model_answers = model_answers
        self._started = False
        self._lock = threading.Lock()
        self._recording = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is now."""
        return self._manifest

    def start(self) -> None:
        """Write everything; from here on the run can be resumed. Further calls do nothing.

        Raises:
            EffaceError: A file cannot be written.
        """
        if self._started or self._config is None:
            return
        self._settle()
        self._folder.start(self._config, self._manifest)
        record_in(self._folder.root, self._record)
        if self._model_answers is not None:
            write_answers(self._folder, self._model_answers)
        self._started = True

    @contextmanager
    def recording(self) -> Iterator[None]:
        """For the block, the manifest gets the sums of what is written to a folder that was started before."""
        self._settle()
        record_in(self._folder.root, self._record)
        try:
            yield
        finally:
            record_in(self._folder.root, None)

    def sums_below(self, folder: Path) -> dict[str, str]:
        """The sums of the files in a folder of the run, by path in the run's folder; empty if there are none."""
        root, path = self._folder.root.absolute(), folder.absolute()
        prefix = f"{path.relative_to(root).as_posix()}/" if path.is_relative_to(root) else "/"
        return {name: each for name, each in (self._manifest.files or {}).items() if name.startswith(prefix)}

    def undo_start(self) -> None:
        """Remove what `start` wrote, as nothing else was written: the run was refused after all."""
        self._started = False
        record_in(self._folder.root, None)

        def remove() -> None:
            for path in (self._folder.config, self._folder.manifest, self._folder.model_answers):
                path.unlink(missing_ok=True)

        on_main_process(remove)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the wall-clock seconds of the block to those of a stage, and note its end; if it fails, neither."""
        start = time.perf_counter()
        yield
        seconds = self._manifest.seconds
        total = round(seconds.get(name, 0) + time.perf_counter() - start, 3)
        self._update(seconds={**seconds, name: total}, finished=datetime.now(UTC).isoformat(timespec="seconds"))

    def add_note(self, text: str) -> None:
        """Add what a reader should know, once."""
        notes = self._manifest.notes
        self._update(notes=notes if text in notes else [*notes, text])

    def set_peak_memory(self, peak: int | None) -> None:
        """Record the most memory in use at once, in bytes; None where it was not measured."""
        self._update(peak_memory_bytes=peak)

    def _settle(self) -> None:
        """After a kill: files that were just being written are there or not."""
        if self._manifest.files is None or not self._manifest.writing:
            return
        root = self._folder.root
        there = {name: digest for name, digest in self._manifest.writing.items() if _is(root / name, digest)}
        files = {name: digest for name, digest in self._manifest.files.items() if (root / name).is_file()}
        self._manifest = self._manifest.model_copy(update={"files": {**files, **there}, "writing": {}})

    @contextmanager
    def _record(self, path: Path, complete: Path) -> Iterator[None]:
        """Have the sums in the manifest before a file or folder appears, so that no kill leaves one without a sum."""
        name = path.absolute().relative_to(self._folder.root.absolute()).as_posix()
        writing = _sums_to_record(name, complete)
        if self._manifest.files is None or not writing:
            yield
            return
        with self._recording:  # a thread writes checkpoints while an epoch is evaluated
            files = self._manifest.files
            self._update_alone(writing=writing)
            yield
            replaced = f"{CHECKPOINTS}/" if name.startswith(f"{CHECKPOINTS}/") else f"{name}/"
            kept = {each: digest for each, digest in files.items() if not each.startswith(replaced)}
            self._update_alone(files=dict(sorted({**kept, **writing}.items())), writing={})

    def _update(self, **values: object) -> None:
        with self._lock:
            self._manifest = self._manifest.model_copy(update=values)
            if self._started:
                self._folder.write_manifest(self._manifest)

    def _update_alone(self, **values: object) -> None:
        """As `_update`, by the process that writes, perhaps in a thread: the other processes do not wait for it."""
        with self._lock:
            self._manifest = self._manifest.model_copy(update=values)
            with atomic_file(self._folder.manifest) as partial:
                partial.write_text(to_json(self._manifest.model_dump()), encoding="utf-8")


def _sums_to_record(name: str, complete: Path) -> dict[str, str]:
    """The sums of a file or folder that will be `name` in the run's folder; empty if the manifest has none of it."""
    parts = name.split("/")
    if parts[0] == CHECKPOINTS and (complete / SUMS_FILE).is_file():
        return {f"{name}/{SUMS_FILE}": file_sum(complete / SUMS_FILE)}
    if parts[0] not in RECORDED:
        return {}
    if complete.is_dir():
        return {f"{name}/{each}": digest for each, digest in folder_sums(complete).items()}
    return {name: file_sum(complete)}


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and file_sum(path) == digest
