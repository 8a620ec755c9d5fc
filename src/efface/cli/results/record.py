"""`efface record`: a signed record of what was done about a deletion request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.options import Json, add_group, examples, print_message, run_argument
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.evidence.record import VerifiedRecord
    from efface.evidence.statement import Action

app = typer.Typer()
record = add_group(
    app,
    "record",
    "Write and check a signed record of what was done about a deletion request.",
    "efface record make runs/first --out records/4711.json --request-id 4711",
    "efface record verify records/4711.json",
    "efface record key",
)

SigningKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="EFFACE_SIGNING_KEY",
        help="The Ed25519 key that signs, in PEM; default: signing-key.pem in your folder of settings.",
    ),
]


@record.command(
    epilog=examples(
        "efface record make runs/first --out records/4711.json --request-id 4711",
        "efface record make runs/queue --out records/2.json --previous records/1.json --done source-data",
    )
)
def make(
    run: Annotated[
        Path,
        run_argument(
            "The folder of a finished run; of a queue, its last finished request is meant, or give the request's "
            "folder."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", show_default=False, help="The record, a new JSON file.")],
    request_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The id of the request, such as a ticket's; no name.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The key of the digest of the texts, made if it is not there; default: FILE.key beside the record.",
        ),
    ] = None,
    signing_key: SigningKey = None,
    previous: Annotated[
        Path | None, typer.Option(metavar="FILE", help="In a queue, the record of the request before.")
    ] = None,
    done: Annotated[
        list[str] | None, typer.Option(metavar="ACTION", help="An open action that is done; may be repeated.")
    ] = None,
) -> None:
    """Write what was done in a run as a signed record, without any text of it; needs no network.

    The record has digests of the model before and after, method, settings, versions, hardware, the utility before and
    after, and what remains to be done. The texts appear as a digest that needs a key, which is in a file of its own:
    keep it as long as the texts may have to be checked, then destroy it.
    """
    from efface.evidence.keys import default_signing_key
    from efface.evidence.record import check_installed, default_key_file, make_record

    check_installed()
    actions = _parse_actions(done or [])
    place, key_place = signing_key or default_signing_key(), key_file or default_key_file(out)
    is_new = signing_key is None and not place.exists()
    made = make_record(
        run,
        out,
        signing_key=place,
        make_signing_key=is_new,
        key_file=key_place,
        request_id=request_id,
        previous=previous,
        done=actions,
    )
    if is_new:
        _say_made(place)
    queue = made.predicate.queue
    if queue is not None and queue.number > 1 and queue.previous is None:
        print_message("the record is not tied to that of the request before; --previous does that")
    typer.echo(f"record: {out}")
    typer.echo(f"key of the texts: {key_place}")
    typer.echo(f"signed by: {made.predicate.signer.key_id}")
    for action in made.predicate.open_actions:
        typer.echo(f"[{'x' if action.done else ' '}] {action.what} ({action.action})")


@record.command(
    epilog=examples(
        "efface record verify records/4711.json --public-key signer.pem",
        "efface record verify records/4711.json --key-file records/4711.json.key --request forget.csv",
    )
)
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The record.")],
    *,
    key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="The key of the digest of the texts.")] = None,
    request: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|BENCHMARK",
            help="The texts: the forget file of the run, or the name of its benchmark.",
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The signer's public key, as efface record key prints it; default: the one in the record.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the signature of a record, and with the key and the texts, that it is about these. Exit code 1 if not."""
    from efface.evidence.envelope import SignatureError
    from efface.evidence.record import check_installed, verify_record

    check_installed()
    try:
        found = verify_record(file, public_key=public_key, key_file=key_file, request=request)
    except SignatureError as error:
        print_message(str(error))
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(found.statement.model_dump_json(indent=2, by_alias=True))
    else:
        _print(file, found)
    if found.texts_fit is False:
        print_message(f"{request} does not have the texts of this record")
        raise typer.Exit(1)


@record.command(epilog=examples("efface record key > signer.pem", "efface record key --signing-key keys/efface.pem"))
def key(signing_key: SigningKey = None) -> None:
    """Print the public part of the signing key, which is made first if there is none: publish it."""
    from efface.evidence.keys import default_signing_key, make_signing_key, public_pem, read_signing_key
    from efface.evidence.record import check_installed

    check_installed()
    place = signing_key or default_signing_key()
    if not place.exists():
        make_signing_key(place)
        _say_made(place)
    signer = read_signing_key(place)
    typer.echo(public_pem(signer.public_key), nl=False)
    print_message(f"key id {signer.public_key.keyid}")


def _say_made(place: Path) -> None:
    print_message(f"made the signing key {place}; keep it secret, and publish what `efface record key` prints")


def _parse_actions(names: list[str]) -> list[Action]:
    from efface.evidence.statement import ACTIONS

    if unknown := [name for name in names if name not in ACTIONS]:
        raise EffaceError(f"--done {unknown[0]}: unknown; give one of {', '.join(ACTIONS)}")
    return [name for name in ACTIONS if name in names]


def _print(file: Path, found: VerifiedRecord) -> None:
    from efface.report.sanitize import one_line

    said = found.statement.predicate
    source = "the given key" if found.is_key_given else "a key that only the record names: compare it with the signer's"
    lines = [
        f"{file}: the signature fits",
        f"signed by {found.key_id} ({source})",
        f"request {said.request}, {said.texts.items} items, method {said.method}, record made {said.record_made}",
        f"model before {said.model_before.sha256}",
        f"model after  {said.model_after.sha256}",
    ]
    if found.texts_fit is not None:
        lines.append(f"the texts {'fit' if found.texts_fit else 'do not fit'}")
    lines += [f"[{'x' if each.done else ' '}] {each.what}" for each in said.open_actions]
    for line in (*lines, said.meaning):
        typer.echo(one_line(line))
