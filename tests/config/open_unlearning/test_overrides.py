"""Overrides with the rules of Hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.config.open_unlearning import compose_config
from efface.config.open_unlearning.overrides import apply_override, parse_override
from efface.errors import EffaceError
from support.messages import assert_names

TREE: dict[str, Any] = {
    "trainer": {"args": {"seed": 0}, "method_args": {"delta": 0.0, "beta": 4.5}},
    "split": "forget10",
}
EXPERIMENT = "experiment=unlearn/tofu/default"


def changed(*arguments: str) -> dict[str, Any]:
    tree = TREE
    for argument in arguments:
        tree = apply_override(tree, parse_override(argument), where="mine.yaml")
    return tree


def test_an_override_leaves_the_configuration_as_it_is() -> None:
    assert changed("trainer.args.seed=1")["trainer"]["args"] == {"seed": 1}
    assert changed("~trainer.method_args.beta")["trainer"]["method_args"] == {"delta": 0.0}
    assert TREE["trainer"] == {"args": {"seed": 0}, "method_args": {"delta": 0.0, "beta": 4.5}}


def test_a_plus_adds_a_key_and_its_blocks() -> None:
    assert changed("+a.b=1", "a.b=1e-5")["a"] == {"b": 1e-5}
    assert changed("++trainer.args.seed=1")["trainer"]["args"] == {"seed": 1}


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("splt=forget05", ["splt=forget05", "+splt=forget05", "'split'"]),
        ("trainer.method_args.detla=3", ["trainer.method_args.detla", "'delta'", "beta"]),
        ("trainer.arg.seed=3", ["no key trainer.arg,", "'trainer.args.seed'"]),
        ("seed=3", ["'trainer.args.seed'"]),
        ("foo.bar=1", ["no key foo", "+foo.bar=1", "split, trainer"]),
        ("trainer.args.seed.x=3", ["trainer.args.seed.x", "leave .x out"]),
        ("~trainer.args.sed", ["~trainer.args.sed", "'seed'"]),
    ],
)
def test_a_key_that_is_not_there_is_refused(argument: str, named: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        changed(argument)
    assert_names(str(error.value), "mine.yaml", *named)
    assert ("+" in str(error.value)) is not argument.startswith("~")


@pytest.mark.parametrize(
    "arguments",
    [
        [EXPERIMENT, "forget_splt=forget05"],
        ["trainer=GradAscent", "trainer.method_args.gamma=1"],
        ["trainer=NPO", "trainer.args.max_steps=3"],
        ["trainer=NPO", "forget_split=forget05"],  # only experiments have it
        [EXPERIMENT, "data.retain.TOFU_QA_forget.args.max_length=1"],
    ],
)
def test_what_hydra_refuses(arguments: list[str]) -> None:
    with pytest.raises(EffaceError, match="has no key"):
        compose_config(arguments)


def test_a_saved_file_has_the_keys_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**compose_config([EXPERIMENT]), "mine": {"a": 1}}))
    assert compose_config([str(path), "mine.a=2"])["mine"] == {"a": 2}
    with pytest.raises(EffaceError) as error:
        compose_config([str(path), "mine.b=2"])
    assert_names(str(error.value), str(path), "mine.b")


def test_the_keys_of_its_scripts_are_known() -> None:
    """scripts/tofu_unlearn.sh and community/methods/*/run.sh."""
    shared = [
        EXPERIMENT, "task_name=a", "trainer.args.eval_strategy=no", "trainer.args.eval_on_start=False",
        "trainer.args.do_eval=false", "trainer.args.ddp_find_unused_parameters=true", "paths.output_dir=a",
        "trainer.args.gradient_checkpointing=true", "hydra.run.dir=a", "eval.tofu.metrics.forget_quality.handler=a",
        "eval.tofu.batch_size=4", "collator.DataCollatorForSupervisedDataset.args.padding_side=left",
    ]  # fmt: skip
    run = compose_config(
        [*shared, "trainer=PDU", "trainer.method_args.retain_loss_eps=0.3", "trainer.method_args.dual_warmup_epochs=3",
         "trainer.method_args.dual_update_upon=step", "trainer.method_args.primal_dual=true"]
    )  # fmt: skip
    assert run["trainer"]["method_args"]["retain_loss_eps"] == 0.3
    for trainer, key in (("UNDIAL", "beta"), ("SatImp", "beta2"), ("RMU", "module_regex"), ("SimNPO", "delta")):
        assert compose_config([*shared, f"trainer={trainer}", f"trainer.method_args.{key}=3"])["trainer"]
