"""Make a record of a run, and verify one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from efface.errors import EffaceError, install_hint
from efface.evidence.collect import (
    FinishedRun,
    audited,
    check_data,
    counts,
    measured,
    model_after,
    model_before,
    numeric_settings,
    read_finished_run,
)
from efface.evidence.envelope import open_envelope, read_envelope, seal
from efface.evidence.keys import (
    check_outside_runs,
    new_signing_key,
    new_text_key,
    parse_public_key,
    public_pem,
    read_signing_key,
    read_text_key,
    write_signing_key,
    write_text_key,
)
from efface.evidence.statement import (
    ACTIONS,
    Action,
    Digest,
    ModelFile,
    OpenAction,
    Predicate,
    Queue,
    Signer,
    Statement,
    Texts,
)
from efface.evidence.texts import how_read, key_id, load_items, read_again, texts_root
from efface.files.atomic import write_text

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


@dataclass(frozen=True)
class VerifiedRecord:
    """A record whose signature fits."""

    statement: Statement
    key_id: str
    is_key_given: bool
    """Whether the caller named the key that must have signed it; otherwise the record itself names it."""
    texts_fit: bool | None
    """Whether the texts are those of the request; None where they were not given."""


def check_installed() -> None:
    """Refuse to go on without the libraries of the extra `record`.

    Raises:
        EffaceError: One is missing.
    """
    try:
        import cryptography  # noqa: F401
        import rfc8785  # noqa: F401
        import securesystemslib.dsse  # noqa: F401
    except ImportError as error:
        raise EffaceError(f"efface record needs the package {error.name}; {install_hint('record')}") from error


def make_record(
    path: Path,
    out: Path,
    *,
    signing_key: Path,
    make_signing_key: bool = False,
    key_file: Path,
    request_id: str | None = None,
    previous: Path | None = None,
    done: Collection[Action] = (),
) -> Statement:
    """Write a signed record of a finished run; needs no network.

    Args:
        path: The folder of a run or of a request; of a queue, its last finished request is meant.
        out: The record's file, which must not exist.
        signing_key: The file of the signing key.
        make_signing_key: Whether a missing signing key is made, once everything else was accepted.
        key_file: The file of the key of the texts; it is made if it does not exist.
        request_id: The request's id, such as the number of a ticket; by default it follows from its texts and the key.
        previous: The record of the request before, in a queue.
        done: The open actions that are done already; that the run was purged is found out.

    Returns:
        What the record says.

    Raises:
        EffaceError: The run is not finished or not what it wrote, its texts are gone or have changed, or a file cannot
            be used.
    """
    if out.exists():
        raise EffaceError(f"{out} exists already; a record is never replaced, so give another --out")
    check_outside_runs(key_file)
    run = read_finished_run(path)
    is_new_signer = make_signing_key and not signing_key.exists()
    signer = new_signing_key() if is_new_signer else read_signing_key(signing_key)
    before = None if previous is None else _previous(previous, run)
    sources, items = load_items(run.data)
    check_data(run, sources)
    is_new = not key_file.exists()
    key = new_text_key() if is_new else read_text_key(key_file)
    texts = Texts(items=len(items), root=texts_root(items, key), key_id=key_id(key), read_as=how_read(run.data))
    statement = _statement(run, texts, signer, request_id=request_id, previous=before, done=done)
    content = seal(statement, signer)
    with ExitStack() as undo:  # without the record, its keys would be of no use
        if is_new:
            write_text_key(key_file, key)
            undo.callback(key_file.unlink)
        if is_new_signer:
            write_signing_key(signing_key, signer)
            undo.callback(signing_key.unlink)
        write_text(out, content.decode())
        undo.pop_all()
    return statement


def verify_record(
    path: Path, *, public_key: Path | None = None, key_file: Path | None = None, request: str | None = None
) -> VerifiedRecord:
    """Check the signature of a record, and that it is about these texts.

    Args:
        path: The record's file.
        public_key: The file of the key that must have signed it.
        key_file: The file of the key of the texts; needs `request`.
        request: The file, or the benchmark, with the texts; needs `key_file`.

    Raises:
        SignatureError: The signature does not fit.
        EffaceError: A file cannot be used, or the key is that of another record.
    """
    if (key_file is None) != (request is None):
        raise EffaceError("the texts are checked with --key-file and --request together; give both or none")
    given = None if public_key is None else parse_public_key(read_envelope(public_key), str(public_key))
    statement, key = open_envelope(path, read_envelope(path), given)
    fit = None
    if key_file is not None and request is not None:
        secret, texts = read_text_key(key_file), statement.predicate.texts
        if key_id(secret) != texts.key_id:
            raise EffaceError(f"{key_file} is not the key of this record, which is {texts.key_id}; give that one")
        fit = hmac.compare_digest(texts_root(read_again(request, texts.read_as), secret), texts.root)
    return VerifiedRecord(statement, key.keyid, given is not None, fit)


@dataclass(frozen=True)
class _Previous:
    sha256: str
    statement: Statement


def _previous(path: Path, run: FinishedRun) -> _Previous:
    content = read_envelope(path)
    statement, _ = open_envelope(path, content)
    queue = statement.predicate.queue
    if run.number is None or queue is None or queue.number != run.number - 1:
        raise EffaceError(f"--previous {path} is not about the request before this one in the queue; give that record")
    return _Previous(hashlib.sha256(content).hexdigest(), statement)


def _statement(
    run: FinishedRun,
    texts: Texts,
    signer: CryptoSigner,
    *,
    request_id: str | None,
    previous: _Previous | None,
    done: Collection[Action],
) -> Statement:
    manifest, after = run.manifest, model_after(run)
    earlier = None if previous is None else previous.statement.predicate.model_after.files
    predicate = Predicate(
        request=request_id or f"request-{texts.root[:16]}",
        run_started=_utc(datetime.fromisoformat(manifest.started)),
        run_finished=None if manifest.finished is None else _utc(datetime.fromisoformat(manifest.finished)),
        record_made=_utc(datetime.now(UTC)),
        run_seconds=round(sum(manifest.seconds.values()), 3),
        texts=texts,
        counts=counts(run, texts.items),
        model_before=model_before(run, earlier),
        model_after=after,
        method=str(run.settings["method"]),
        settings=numeric_settings({name: value for name, value in run.settings.items() if name != "private"}),
        seed=manifest.seed,
        versions={
            "efface": manifest.efface,
            **({"commit": manifest.commit} if manifest.commit else {}),
            **manifest.versions,
        },
        hardware=manifest.device,
        precision=manifest.precision,
        measured=measured(run.results),
        audit=audited(run.results),
        queue=None if run.number is None else Queue(number=run.number, previous=previous.sha256 if previous else None),
        open_actions=_actions(run, done),
        signer=Signer(key_id=signer.public_key.keyid, public_key=public_pem(signer.public_key)),
    )
    subjects = [ModelFile(name=name, digest=Digest(sha256=each)) for name, each in (after.files or {}).items()]
    return Statement(subject=subjects, predicate=predicate)


def _actions(run: FinishedRun, done: Collection[Action]) -> list[OpenAction]:
    paths = run.paths
    texts = (paths.records_root, paths.inputs, paths.model_answers, paths.checkpoints)
    purged = bool(run.manifest.purged) and not any(each.exists() for each in texts)
    ticked = {*done, *(["run-texts"] if purged else [])}
    return [OpenAction(action=name, what=what, done=name in ticked) for name, what in ACTIONS.items()]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def default_key_file(out: Path) -> Path:
    """Where the key of the texts is, unless a command names another place: next to the record."""
    return out.with_name(f"{out.name}.key")
