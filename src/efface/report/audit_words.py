"""What an audit's results are called: every sentence about them, in the terminal, on the page and in tables. No torch.

An audit can show that a fact is still there, and never that none is: no sentence here says so.
"""

from __future__ import annotations

from efface.artifacts.audit import AuditResults

NOT_BROUGHT_BACK = "not brought back by the attacks tried"
LIMITS = (
    "An audit finds what its attacks find. A fact that was not brought back by the attacks tried may come back under "
    "others, with more steps, or from someone who has the model before unlearning."
)
BOUND = "≤: what none found leaves, one-sided 95 %"
FORBIDDEN = ("erased", "proven", "certified", "guaranteed", "unrecoverable")
"""What none of these sentences says of a model."""
FEW_FACTS = 20
"""With fewer facts, results say little."""
_LEVEL = 0.05


def headline(results: AuditResults) -> str:
    """The one sentence, or the few, that say what came back, with intervals.

    Args:
        results: Of an audit.
    """
    return " ".join(
        part for part in (_recovered(results), _compared(results), _strongest(results), _warning(results)) if part
    )


def bound_of_none(n: int) -> float:
    """The share of facts that may come back although none of `n` did: one-sided, 95 %.

    Args:
        n: Facts that were attacked, at least 1.
    """
    return float(1 - _LEVEL ** (1 / n))


def count_of(k: int, n: int) -> str:
    """`3 of 20`; of none, with the bound that belongs to it.

    Args:
        k: Facts that came back.
        n: Facts that were attacked.
    """
    return f"{k} of {n}" if k else f"0 of {n} (leaves up to {percent(bound_of_none(n))}, one-sided 95 %)"


def short_count(k: int, n: int) -> str:
    """As `count_of` for a table, whose caption has `BOUND`: `0 of 20 (≤ 14 %)`.

    Args:
        k: Facts that came back.
        n: Facts that were attacked.
    """
    return f"{k} of {n}" if k else f"0 of {n} (≤ {percent(bound_of_none(n))})"


def percent(share: float) -> str:
    """A share such as `32 %`; with a decimal where it is small."""
    points = 100 * share
    return f"{points:.1f} %" if 0 < points < 10 and points != round(points) else f"{points:.0f} %"


def percent_range(interval: tuple[float, float]) -> str:
    """An interval such as `17 to 51 %`."""
    low, high = (100 * each for each in interval)
    return f"{low:.0f} to {high:.0f} %"


def _recovered(results: AuditResults) -> str:
    found = results.recoverable
    if not found.k:
        return (
            f"0 of {found.n} facts that it knew were brought back; all are {NOT_BROUGHT_BACK}, which leaves up to "
            f"{percent(bound_of_none(found.n))} of facts that these attacks bring back (one-sided 95 %)."
        )
    plainly = f", {found.asked_plainly} of them by asking as the run does" if found.asked_plainly else ""
    return (
        f"{found.k} of {found.n} facts that it knew can be brought back ({percent(found.k / found.n)}; 95 % interval "
        f"{percent_range(found.interval)}){plainly}; the others were {NOT_BROUGHT_BACK}."
        if found.k < found.n
        else f"All {found.n} facts that it knew can be brought back (95 % interval {percent_range(found.interval)})"
        f"{plainly}."
    )


def _compared(results: AuditResults) -> str:
    control, excess, found = results.control, results.excess, results.recoverable
    if control is None or excess is None:
        by_chance = "" if found.chance is None else f"; {percent(found.chance)} would count by chance"
        return f"There is no control that never saw them, so guesses are not subtracted{by_chance}."
    what = "a model that never saw them" if control.kind == "given" else "the base model, which never saw them"
    low, high = (100 * each for each in excess.interval)
    independent = "subjects" if excess.by_subject else "questions"
    interval = f"95 % interval {low:.0f} to {high:.0f}, with {independent} taken as independent"
    if low == high:  # of an earlier version
        interval = f"{'every' if excess.value else 'no'} fact differs"
    return f"From {what}: {count_of(control.k, found.n)}. Excess {100 * excess.value:.0f} points ({interval})."


def _strongest(results: AuditResults) -> str:
    counts = {
        name: round(each.rate * each.n)
        for name, each in results.attacks.items()
        if each.rate and each.in_union and name != "plain"
    }
    if not counts:
        return ""
    best = max(counts, key=lambda name: counts[name])
    return f"Most by {best} ({counts[best]})."


def _warning(results: AuditResults) -> str:
    n = results.recoverable.n
    return f"Only {n} facts: too few to say much." if n < FEW_FACTS else ""
