"""Part 5: where the time of a step and of decoding goes, and the gaps in which the GPU waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from acceptance.evaluation import decode, random_model
from acceptance.sizes import Sizes
from acceptance.stages import Measurements, Row
from acceptance.training import forget_steps, training, training_model
from efface.objectives.terms import Reference
from efface.train.config import TrainConfig
from efface.train.loop import StepLog
from shapes import Shape
from step_parts import by_group, is_range

_WARM_UP = 3
_LONG_US = 10.0
"""A GPU starts a kernel that is waiting within a few microseconds; after longer gaps, there was none."""
_LISTED, _NAME = 10, 80
"""The longest gaps that are listed, and the characters of a kernel's name."""
_DECODED_TOKENS = 8


class Interval(NamedTuple):
    """One kernel, in microseconds."""

    start: float
    end: float
    name: str


def of_1b(sizes: Sizes, device: str) -> Measurements:
    """Steps and decoding at 1B."""
    shape, rows = sizes.models["1B"], max(sizes.decoded_rows)
    return {
        "profile of 1B, IDK+AP": partial(_profile_training, shape, "idk+ap", sizes, device),
        "profile of 1B, ME+GD": partial(_profile_training, shape, "me+gd", sizes, device),
        f"profile of 1B, decoding {rows} rows": partial(_profile_decoding, shape, rows, device),
    }


def of_7b(sizes: Sizes, device: str) -> Measurements:
    """Steps at 7B."""
    return {"profile of 7B, IDK+AP": partial(_profile_training, sizes.models["7B"], "idk+ap", sizes, device)}


def of_135m(sizes: Sizes, device: str) -> Measurements:
    """Steps at 135M."""
    return {"profile of 135M, IDK+AP": partial(_profile_training, sizes.models["135M"], "idk+ap", sizes, device)}


def _profile_training(shape: Shape, method: str, sizes: Sizes, device: str) -> Row:
    config = TrainConfig(epochs=sizes.epochs, batch_size=sizes.batch_size)
    resolved, model = training_model(config, shape, device)
    steps = forget_steps(resolved, method, sizes.forget_set)
    warm_up = min(_WARM_UP, len(steps) - 1)
    profiled = min(sizes.repeats, len(steps) - warm_up)
    profiler, seconds = profile(activities=_activities(device), acc_events=True), list[float]()

    def on_step(log: StepLog) -> None:
        if log.step == warm_up:
            profiler.start()
        elif log.step > warm_up:
            seconds.append(log.seconds)

    with training(model, resolved, method, sizes.forget_set) as trainer:
        trainer.run([steps[number] for number in range(warm_up + profiled)], Reference(), on_step=on_step)
    profiler.stop()
    return {"seconds": sum(seconds) / profiled, **_summary(list(profiler.events()), device, profiled)}


def _profile_decoding(shape: Shape, rows: int, device: str) -> Row:
    model = random_model(shape, device)
    decode(model, rows, 2)
    with profile(activities=_activities(device), acc_events=True) as profiler:
        decode(model, rows, _DECODED_TOKENS)
    return {"tokens": _DECODED_TOKENS, **_summary(list(profiler.events()), device, _DECODED_TOKENS)}


def _activities(device: str) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])


def _summary(events: Sequence[Any], device: str, count: int) -> Row:
    """Milliseconds for each of `count` steps: by group, busy, waiting, and the longest gaps."""
    groups = {name: 1e3 * seconds / count for name, seconds in by_group(events, device).items()}
    return {"groups_ms": groups, **gaps(kernels(events, device), count)}


def kernels(events: Iterable[Any], device: str) -> list[Interval]:
    """The kernels on a GPU; on a CPU the operations that no other encloses."""
    if device == "cuda":
        chosen = [each for each in events if each.device_type == DeviceType.CUDA and not is_range(each)]
    else:
        chosen = [each for each in events if each.cpu_parent is None]
    return sorted(Interval(each.time_range.start, each.time_range.end, each.name) for each in chosen)


def gaps(intervals: Sequence[Interval], count: int) -> Row:
    """When nothing ran between the first and the last of `intervals`, which are sorted.

    Args:
        intervals: Kernels of all steps.
        count: Number of steps.

    Returns:
        Milliseconds per step in which a kernel ran and in which none did, the number of long gaps per step and their
        time, and the longest ones with the kernels around them.
    """
    busy, found, end = 0.0, list[tuple[float, str, str]](), intervals[0].start
    last = intervals[0].name
    for each in intervals:
        if each.start > end:
            found.append((each.start - end, last, each.name))
        busy += max(0.0, each.end - max(each.start, end))
        if each.end > end:
            end, last = each.end, each.name
    long = sorted((gap for gap in found if gap[0] > _LONG_US), reverse=True)
    return {
        "kernels": len(intervals) / count,
        "busy_ms": 1e-3 * busy / count,
        "waiting_ms": 1e-3 * sum(gap for gap, *_ in found) / count,
        "long_gaps": len(long) / count,
        "long_gaps_ms": 1e-3 * sum(gap for gap, *_ in long) / count,
        "longest": [
            {"ms": 1e-3 * gap, "after": after[:_NAME], "before": before[:_NAME]}
            for gap, after, before in long[:_LISTED]
        ],
    }
