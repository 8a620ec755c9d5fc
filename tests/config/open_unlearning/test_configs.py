"""The configuration of a run of open-unlearning, put together as its Hydra does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from efface.config.open_unlearning import compose_config
from efface.errors import EffaceError
from support.messages import assert_names

EXPERIMENT = "experiment=unlearn/tofu/default"


def test_an_experiment_overrides_the_trainer_and_overrides_the_experiment() -> None:
    run = compose_config(
        ["--config-name=unlearn.yaml", EXPERIMENT, "trainer=UNDIAL", "trainer.args.num_train_epochs=3"]
    )
    arguments = run["trainer"]["args"]
    assert (run["trainer"]["handler"], arguments["learning_rate"], arguments["num_train_epochs"]) == ("UNDIAL", 1e-5, 3)
    assert (arguments["weight_decay"], arguments["per_device_train_batch_size"]) == (0.01, 8)
    assert run["trainer"]["method_args"]["alpha"] == 0.0


def test_without_an_experiment_the_trainer_decides() -> None:
    run = compose_config(["trainer=UNDIAL"])
    assert run["trainer"]["args"]["learning_rate"] == 1e-4
    assert run["data"]["forget"]["TOFU_QA_forget"]["args"]["hf_args"]["name"] == "forget10"


def test_references_follow_the_overrides() -> None:
    run = compose_config(["experiment=unlearn/muse/default.yaml", "data_split=Books", "retain_logs_path=a.json"])
    assert run["model"]["model_args"]["pretrained_model_name_or_path"] == "muse-bench/MUSE-Books_target"
    assert run["data"]["retain"]["MUSE_retain"]["args"]["hf_args"]["path"] == "muse-bench/MUSE-Books"
    assert run["eval"]["muse"]["retain_logs_path"] == "a.json"


def test_signs_of_overrides() -> None:
    run = compose_config(
        [EXPERIMENT, "+data.forget.TOFU_QA_forget.args.alternate_key=alternate",
         "~data.forget.TOFU_QA_forget.args.hf_args.name", "++trainer.args.learning_rate=2e-5"]
    )  # fmt: skip
    forget = run["data"]["forget"]["TOFU_QA_forget"]["args"]
    assert forget["alternate_key"] == "alternate"
    assert "name" not in forget["hf_args"]
    assert run["trainer"]["args"]["learning_rate"] == 2e-5
    assert compose_config([EXPERIMENT])["data"]["forget"]["TOFU_QA_forget"]["args"]["hf_args"]["name"] == "forget10"


def test_another_data_set() -> None:
    run = compose_config([EXPERIMENT, "data/datasets@data.forget=TOFU_QA_forget_idk"])
    assert list(run["data"]["forget"]) == ["TOFU_QA_forget_idk"]


def test_a_file_that_hydra_saved(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(compose_config([EXPERIMENT, "trainer=NPO"]) | {"task_name": "${trainer.handler} run"})
    )
    run = compose_config([str(path), "trainer.args.learning_rate=3e-5"])
    assert (run["task_name"], run["trainer"]["args"]["learning_rate"]) == ("NPO run", 3e-5)
    assert compose_config([str(path), "trainer=WGA"])["trainer"]["handler"] == "WGA"
    with pytest.raises(EffaceError, match="the given one is complete already"):
        compose_config([str(path), EXPERIMENT])


def test_the_file_of_an_experiment(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "defaults:\n- override /model: Qwen2.5-3B-Instruct\n- override /trainer: SimNPO\n- _self_\n"
        "trainer:\n  args: {learning_rate: 4.0e-5}\nforget_split: forget01\n"
        "data: {forget: {TOFU_QA_forget: {args: {hf_args: {name: '${forget_split}'}}}}}\n"
    )
    run = compose_config([str(path)])
    assert run["trainer"]["handler"] == "SimNPO"
    assert run["trainer"]["args"]["learning_rate"] == 4e-5
    assert run["model"]["model_args"]["pretrained_model_name_or_path"] == "Qwen/Qwen2.5-3B-Instruct"
    assert run["data"]["forget"]["TOFU_QA_forget"]["args"]["hf_args"]["name"] == "forget01"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["trainer=NPOO"], ["trainer=NPOO", "NPO"]),
        (["experiment=unlearn/tofu/defualt"], ["unlearn/tofu/default"]),
        (["experiment=eval/tofu/default"], ["eval/tofu/default", "efface evaluate"]),
        (["--config-name=eval.yaml", "model=a"], ["--config-name=eval.yaml", "efface evaluate"]),
        (["experiment=finetune/tofu/default"], ["finetune/tofu/default", "efface finetune"]),
        (["model=Llama-3"], ["model=Llama-3", "Llama-3.2-1B-Instruct"]),
        (["missing.yaml"], ["missing.yaml"]),
        (["trainer=NPO", "forget_split"], ["'forget_split'", "key=value"]),
        (["--config-path=elsewhere"], ["--config-path", "--config-name"]),
        (["trainer.args.seed=[1"], ["trainer.args.seed", "YAML"]),
    ],
)
def test_what_is_unknown_is_named(arguments: list[str], named: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        compose_config(arguments)
    assert_names(str(error.value), *named)


def test_a_file_whose_defaults_are_no_list(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("defaults: 5\n")
    with pytest.raises(EffaceError) as error:
        compose_config([str(path)])
    assert_names(str(error.value), "defaults=5", "list")


def test_references_that_grow_or_turn_in_circles_end(tmp_path: Path) -> None:
    circle = tmp_path / "circle.yaml"
    circle.write_text("trainer: {}\na: ${b}\nb: ${a}\n")
    bomb = tmp_path / "bomb.yaml"
    lines = [f"k{n}: '{f'${{k{n + 1}}}' * 9}'" for n in range(30)]
    bomb.write_text("\n".join(["trainer: {}", *lines, "k30: x"]))
    for path in (circle, bomb):
        with pytest.raises(EffaceError, match="references, or one to itself"):
            compose_config([str(path)])
