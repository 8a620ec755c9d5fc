"""`efface.audit`: the command `efface audit` as a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efface.api.common import PluginSpec, StrPath, path_of
from efface.api.unlearning import Unlearned
from efface.artifacts.audit import AuditResults
from efface.auditing.audit import audit as audit_run
from efface.auditing.config import AuditConfig
from efface.config.resolve import resolve_config
from efface.progress.reporter import Reporter


def audit(
    run: StrPath | Unlearned,
    *,
    against: StrPath | None = None,
    out: StrPath | None = None,
    plugins: PluginSpec | Sequence[PluginSpec] = (),
    data_dir: StrPath | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> AuditResults:
    """Try to bring back what a run made its model forget, as `efface audit` does.

        found = efface.audit("runs/first", against="runs/retrained", audit={"level": "standard"})
        print(found.recoverable.k, "of", found.recoverable.n)

    Args:
        run: The folder of a finished run, or what `unlearn` returned.
        against: The folder of a run, a fine-tuning or a model that never knew the facts.
        out: Where rows and results go; None for the run's folder, whose results.json then has them, too.
        plugins: Custom attacks: files, modules, or classes that derive from `efface.Attack`.
        data_dir: As for `unlearn`.
        reporter: As for `unlearn`.
        **settings: Settings of an audit, such as audit={"attacks": "asks"} or device="cpu".

    Returns:
        What came back, with intervals.

    Raises:
        EffaceError: The run cannot be audited, or something else cannot be used.
    """
    config = resolve_config(AuditConfig, settings={"plugins": plugins, **settings})
    folder = path_of(run.folder if isinstance(run, Unlearned) else run)
    assert folder is not None
    return audit_run(
        config, folder, against=path_of(against), out=path_of(out), data_dir=path_of(data_dir), reporter=reporter
    )
