from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from efface.scores.definitions import CLOSER_LOOK, OPEN_UNLEARNING, PAPER, TOFU, Definition
from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.truth_ratio import correct_share, truth_ratio


def score(definition: Definition, right: float, *wrongs: float, forget: bool) -> float | Missing:
    """From mean token log-probs."""
    return truth_ratio(
        MetricInputs(id="q", paraphrase_logp=right, perturbed_logps=wrongs),
        forget_form=definition.forget_form if forget else None,
        wrong_answers=definition.wrong_answers,
        log_epsilon=definition.log_epsilon,
    )


def logs(*probabilities: float) -> list[float]:
    return [math.log(p) for p in probabilities]


@pytest.mark.parametrize(
    ("definition", "retain", "forget"),
    [
        # correct 0.5; wrong 0.1 and 0.4: geometric mean 0.2 -> r = 0.4; arithmetic mean 0.25 -> r = 0.5
        (CLOSER_LOOK, 0.6, 0.6),
        (PAPER, 0.5, 0.5),
        (TOFU, 0.6, 0.4),
        (OPEN_UNLEARNING, 0.6, 0.4),
    ],
)
def test_right_answer_preferred(definition: Definition, retain: float, forget: float) -> None:
    assert score(definition, *logs(0.5, 0.1, 0.4), forget=False) == pytest.approx(retain)
    assert score(definition, *logs(0.5, 0.1, 0.4), forget=True) == pytest.approx(forget)


@pytest.mark.parametrize(
    ("definition", "forget"),
    # correct 0.1; wrong 0.1 and 0.9: geometric mean 0.3 -> r = 3; arithmetic mean 0.5 -> r = 5
    [(CLOSER_LOOK, 2 / 3), (PAPER, 4 / 5), (TOFU, 1 / 3), (OPEN_UNLEARNING, 1 / 3)],
)
def test_wrong_answers_preferred(definition: Definition, forget: float) -> None:
    assert score(definition, *logs(0.1, 0.1, 0.9), forget=False) == 0.0
    assert score(definition, *logs(0.1, 0.1, 0.9), forget=True) == pytest.approx(forget)


def test_open_unlearning_adds_to_both_denominators() -> None:
    # correct 1e-10, wrong 4e-10: r = 4e-10 / (1e-10 + 1e-10) = 2, and 1 / (2 + 1e-10)
    assert score(OPEN_UNLEARNING, *logs(1e-10, 4e-10), forget=True) == pytest.approx(1 / (2 + 1e-10), rel=1e-12)
    # correct 3e-10, wrong 2e-10: r = 2 / 4
    assert score(OPEN_UNLEARNING, *logs(3e-10, 2e-10), forget=False) == pytest.approx(0.5)


@pytest.mark.parametrize("model", ["model", "reference"])
def test_prob_mean_of_open_unlearning(model: str) -> None:
    path = Path(__file__).parents[2] / "golden" / "open_unlearning" / "losses_and_metrics.json"
    options = json.loads(path.read_text())["metrics"]["options"][model]
    for index, entry in options["truth_ratio"]["prob_mean"]["value_by_index"].items():
        right, wrong = (options[side][index]["avg_loss"] for side in ("right", "wrong"))
        share = correct_share(
            -right, [-loss for loss in wrong], wrong_answers="geometric", log_epsilon=OPEN_UNLEARNING.log_epsilon
        )
        assert share == pytest.approx(entry["score"], abs=1e-9)


@pytest.mark.parametrize("definition", [CLOSER_LOOK, PAPER, TOFU, OPEN_UNLEARNING])
@pytest.mark.parametrize("right", [0.0, -1e4, -1e39])
@pytest.mark.parametrize("wrong", [0.0, -1e4, -1e39])
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.filterwarnings("error")
def test_finite_in_finite_out(definition: Definition, right: float, wrong: float, forget: bool) -> None:
    value = score(definition, right, wrong, wrong, forget=forget)
    assert isinstance(value, float)
    assert 0 <= value <= 1


def test_collapsed_models_compare_logs() -> None:
    assert score(TOFU, -5000.0, -5000.0, forget=True) == 1.0  # 0 / 0 in probabilities
    assert score(CLOSER_LOOK, -6000.0, -5000.0, forget=True) == 1.0  # r overflows
    assert score(CLOSER_LOOK, -5000.0, -6000.0, forget=False) == 1.0  # r underflows


def test_missing() -> None:
    assert score(TOFU, -1.0, forget=True) == Missing("there are no wrong answers to compare with")
    no_paraphrase = MetricInputs(id="q", perturbed_logps=(-1.0,))
    assert truth_ratio(no_paraphrase, forget_form=None, wrong_answers="geometric", log_epsilon=-math.inf) == Missing(
        "there is no log-probability of the paraphrased answer"
    )
