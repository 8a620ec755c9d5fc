"""Writes checkpoints in a thread while training goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import torch

from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError
from efface.files.atomic import atomic_folder, recorded
from efface.files.permissions import make_folder, settle
from efface.files.sums import folder_sums, write_sums
from efface.hardware.memory import disk_free, free_memory
from efface.train.checkpoints.checkpoint import TrainerState, checkpoint_folder, remove_others, write_state
from efface.train.checkpoints.checkpoint_files import CheckpointFile

_MEMORY_SHARE = 2
"""Copies take at most one part in so many of the free memory; else training waits until the files are written."""
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_FOR_OTHERS = 10.0
"""How long the last checkpoint waits for other processes when training ends early."""


@dataclass
class CheckpointWriter:
    """Writes one checkpoint at a time. Every process must call each method."""

    folder: Path
    """The folder of all checkpoints of the run."""
    sharded: bool
    """Whether each process writes files; else the main process writes all."""
    _thread: Thread | None = None
    _errors: list[Exception] = field(default_factory=list)
    _abandon: Event = field(default_factory=Event)

    def start(self, files: Sequence[CheckpointFile], state: TrainerState) -> None:
        """Copy the tensors and write the copies in a thread, after waiting for the checkpoint before.

        Where memory is too small for copies, this returns when the files are written.

        Args:
            files: Of this process.
            state: Of the trainer; names the checkpoint.

        Raises:
            EffaceError: The disk has too little space, or the checkpoint before was not written.
        """
        self.wait()
        final = checkpoint_folder(self.folder, state.step)
        self._check_space(files, final)
        if self.sharded:
            self._clear(final)
        if not files:
            return
        copies = self._copies_fit(files)
        written = [each.on_cpu() for each in files] if copies else files
        # the thread must not ask for them: the main process counts as the only one for moments
        place = distributed.rank(), distributed.world_size()
        self._thread = Thread(target=self._write, args=(written, state, final, *place), name="checkpoint", daemon=True)
        self._thread.start()
        if not copies:
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is complete.

        Raises:
            EffaceError: It was not written, by this process or another one.
        """
        another_failed = False
        if self._thread is not None:
            if self.sharded:
                another_failed = self._another_failed(self._thread)
            self._thread.join()
            self._thread = None
        self.check()
        if another_failed:
            raise DistributedError(
                f"process {distributed.rank()} of {distributed.world_size()} wrote its part of a checkpoint, and "
                "another one did not; see the message of that one, then continue with --resume"
            )

    def check(self) -> None:
        """Raise the error of a checkpoint that was not written, if there is one.

        Raises:
            Exception: What the writing thread raised; `EffaceError` for a file that cannot be written.
        """
        if self._errors:
            raise self._errors.pop()

    def close(self) -> None:
        """Finish what this process has begun; others, which may be gone, have a little time. Raises nothing."""
        if self._thread is not None:
            if self.sharded:
                self._thread.join(_SECONDS_FOR_OTHERS)
            self._abandon.set()
            self._thread.join()
            self._thread = None

    def _another_failed(self, thread: Thread) -> bool:
        """Whether another process could not write its part; the main process then no longer waits for that part."""
        if not distributed.is_main_process():
            thread.join()
        failed = distributed.all_gather(bool(self._errors))
        if any(failed):
            self._abandon.set()
        return any(failed) and not self._errors

    def _copies_fit(self, files: Sequence[CheckpointFile]) -> bool:
        """Whether copies of the files, and of those of the other processes of this machine, fit in memory."""
        writing = distributed.local_world_size() if self.sharded else 1
        needed = writing * sum(each.nbytes for each in files if not each.is_copy)
        fits = needed <= free_memory(torch.device("cpu")) // _MEMORY_SHARE
        return all(distributed.all_gather(fits)) if self.sharded else fits  # all processes wait, or none does

    def _check_space(self, files: Sequence[CheckpointFile], final: Path) -> None:
        needed = sum(each.nbytes for each in files) * (distributed.world_size() if self.sharded else 1)
        if needed > (free := disk_free(self.folder)):
            raise EffaceError(
                f"cannot write {final}: it takes {needed / 2**30:.2f} GiB and {free / 2**30:.2f} GiB are free; free "
                "some space or choose another --out; a higher train.save_minutes writes fewer checkpoints"
            )

    def _clear(self, final: Path) -> None:
        """Make an empty folder for the files of all processes."""
        if distributed.is_main_process():
            shutil.rmtree(_joint(final), ignore_errors=True)  # left by a kill
            make_folder(_joint(final))
        distributed.barrier()

    def _write(
        self, files: Sequence[CheckpointFile], state: TrainerState, final: Path, rank: int, world_size: int
    ) -> None:
        try:
            if self.sharded:
                self._write_shard(files, state, final, rank, world_size)
            else:
                with atomic_folder(final) as partial:
                    make_folder(partial)
                    write_state(state, partial)
                    for file in files:
                        file.write(partial)
                    write_sums(partial)
                remove_others(final)
        except Exception as error:  # raised in the main thread, by `check`
            self._errors.append(error)

    def _write_shard(
        self, files: Sequence[CheckpointFile], state: TrainerState, final: Path, rank: int, world_size: int
    ) -> None:
        """Write the files of this process and their sums; the main process waits for those of the others."""
        partial = _joint(final)
        for file in files:
            file.write(partial)
        sums = folder_sums(partial, [partial / file.name for file in files])
        _done(partial, rank).with_suffix(".partial").write_text(json.dumps(sums), encoding="utf-8")
        _done(partial, rank).with_suffix(".partial").replace(_done(partial, rank))
        if rank != 0:
            return
        done = [_done(partial, other) for other in range(world_size)]
        while not all(path.exists() for path in done):
            if self._abandon.wait(_SECONDS_BETWEEN_LOOKS):
                return
        for path in done:
            sums |= json.loads(path.read_text(encoding="utf-8"))
            path.unlink()
        write_state(state, partial)
        write_sums(partial, sums)
        settle(partial)
        with recorded(final, partial):
            shutil.rmtree(final, ignore_errors=True)
            partial.replace(final)
        remove_others(final)


def _joint(final: Path) -> Path:
    """The temporary name of a checkpoint that several processes write."""
    return final.with_name(f".{final.name}.partial")


def _done(partial: Path, rank: int) -> Path:
    """Says that a process has written its files, and has their sums."""
    return partial / f"done-{rank}"
