"""From every trainer of open-unlearning to a method and its settings."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.commands import RunConfig
from efface.config.open_unlearning import compose_config, convert
from efface.config.open_unlearning.method import convert_method
from efface.config.open_unlearning.settings import Settings
from efface.config.parse import validate_config

EXPERIMENT = "experiment=unlearn/tofu/default"


def converted(*arguments: str) -> RunConfig:
    return validate_config(RunConfig, convert(compose_config([EXPERIMENT, *arguments])).settings)


@pytest.mark.parametrize(
    ("trainer", "method", "settings"),
    [
        ("GradAscent", "ga", {}),
        ("GradDiff", "ga+gd", {}),
        ("NPO", "npo+gd", {"beta": 0.1}),
        ("DPO", "dpo+gd", {"beta": 0.1}),
        ("SimNPO", "simnpo+gd", {"forget_coeff": 0.125, "simnpo.beta": 4.5, "simnpo.delta": 0.0}),
        ("WGA", "wga+gd", {"wga.beta": 1.0}),
        ("SatImp", "satimp+gd", {"forget_coeff": 0.1, "satimp.beta1": 5.0, "satimp.beta2": 1.0}),
        ("UNDIAL", "undial", {"undial.beta": 10.0}),
        ("CEU", "ceu", {"ceu.ignore_first_n_answer_tokens": 1}),
        ("RMU", "rmu+embed", {"rmu.layer": 7, "rmu.steering_coeff": 2.0, "rmu.average": "broadcast"}),
    ],
)
def test_every_trainer(trainer: str, method: str, settings: dict[str, Any]) -> None:
    config = converted(f"trainer={trainer}")
    assert config.method == method
    for name, value in settings.items():
        found: Any = config
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value, name
    train = config.train
    assert (train.lr, train.epochs, train.batch_size, train.weight_decay) == (1e-5, 10, 32, 0.01)
    assert (train.average_over, train.micro_batch_size, train.max_grad_norm) == ("micro-batch", 8, 1.0)
    assert (train.schedule, train.warmup_steps, config.definition) == ("linear", None, "open-unlearning")


def method_of(handler: str, **arguments: Any) -> Settings:
    found = Settings()
    convert_method({"handler": handler, "method_args": arguments}, {}, found)
    return found


@pytest.mark.parametrize(
    ("handler", "arguments", "method"),
    [
        ("RMU", {"retain_loss_type": "NLL"}, "rmu+gd"),
        ("NPO", {"retain_loss_type": "KL"}, "npo+kl"),
        ("UNDIAL", {"alpha": 1.0}, "undial+gd"),
        ("WGA", {"alpha": 0}, "wga"),
    ],
)
def test_the_retain_loss(handler: str, arguments: dict[str, Any], method: str) -> None:
    assert method_of(handler, module_regex="model.layers.3", **arguments).values["method"] == method


def test_weights_of_rmu() -> None:
    values = method_of("RMU", module_regex=r"model\.layers\.12", trainable_params_regex=["a.*", "b"]).values
    assert (values["rmu.layer"], values["train.parameters"]) == (12, "(?:a.*)|(?:b)")
    assert "train.parameters" not in method_of("RMU", trainable_params_regex=[".*"]).values


def test_pdu_has_a_bound_of_the_retain_loss() -> None:
    config = converted("trainer=PDU", "trainer.method_args.retain_loss_eps=0.3", "trainer.method_args.dual_step_size=2")
    assert (config.method, config.pdu.positions) == ("pdu+gd", "predicted")
    assert (config.train.retain_bound, config.train.retain_bound_rate) == (0.3, 2.0)
    assert "train.retain_bound" not in method_of("PDU", primal_dual=False).values
