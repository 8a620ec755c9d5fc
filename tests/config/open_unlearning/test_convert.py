"""From a run of open-unlearning to settings: every trainer, the data, and what is said about the rest."""

from __future__ import annotations

import pytest

from efface.config.commands import RunConfig
from efface.config.open_unlearning import Converted, compose_config, convert
from efface.config.parse import validate_config
from efface.errors import EffaceError
from support.messages import assert_names

EXPERIMENT = "experiment=unlearn/tofu/default"


def converted(*arguments: str) -> tuple[RunConfig, Converted]:
    found = convert(compose_config([EXPERIMENT, *arguments]))
    return validate_config(RunConfig, found.settings), found


def test_the_command_of_its_scripts() -> None:
    """scripts/tofu_unlearn.sh, but for where it saves."""
    config, found = converted(
        "trainer=NPO", "model=Llama-3.2-3B-Instruct", "forget_split=forget05", "retain_split=retain95",
        "model.model_args.pretrained_model_name_or_path=open-unlearning/tofu_Llama-3.2-3B-Instruct_full",
        "retain_logs_path=saves/eval/retain95/TOFU_EVAL.json", "trainer.args.per_device_train_batch_size=4",
        "trainer.args.gradient_accumulation_steps=4", "trainer.args.ddp_find_unused_parameters=true",
        "trainer.args.gradient_checkpointing=true", "task_name=mine",
    )  # fmt: skip
    assert config.model == "open-unlearning/tofu_Llama-3.2-3B-Instruct_full"
    assert config.tokenizer == "meta-llama/Llama-3.2-3B-Instruct"
    assert (config.data.source, config.data.split, config.data.retain_evaluation) == ("tofu", "forget05", 400)
    assert config.data.forget_evaluation == 400
    assert (config.text.format, config.text.system) == ("chat", "You are a helpful assistant.")
    assert config.text.date.isoformat() == "2025-04-10"
    assert (config.train.batch_size, config.train.micro_batch_size) == (16, 4)
    assert config.train.gradient_checkpointing is True
    notes = "\n".join(found.notes)
    assert_names(
        notes,
        "holdout_split=holdout10",
        "data.holdout=published",
        "--against saves/eval/retain95/TOFU_EVAL.json",
        "several GPUs",
        "torch_dtype",
    )


def test_the_data_of_muse_and_wmdp() -> None:
    config = validate_config(
        RunConfig, convert(compose_config(["experiment=unlearn/muse/default", "trainer=GradDiff"])).settings
    )
    assert (config.data.source, config.data.corpus, config.data.chunk_tokens) == ("muse", "news", 2048)
    assert (config.train.schedule, config.train.warmup_steps, config.text.format) == ("constant", 0, "plain")
    wmdp = convert(compose_config(["experiment=unlearn/wmdp/default"]))
    config = validate_config(RunConfig, wmdp.settings)
    assert (config.method, config.train.max_steps, config.train.batch_size) == ("rmu+embed", 80, 16)
    assert config.train.parameters == r"model\.layers\.(5|6|7)\.mlp\.down_proj\.weight"
    assert (config.data.source, config.data.corpus, config.data.retain_corpus) == ("wmdp", "cyber", "wmdp")
    assert config.data.chunk_tokens == 512
    assert_names("\n".join(wmdp.notes), "efface data fetch wmdp-cyber")


@pytest.mark.parametrize(("name", "corpus"), [("scalability", "scal"), ("sustainabilty", "sust")])
def test_folds_of_muse(name: str, corpus: str) -> None:
    """scripts/muse_unlearn.sh, with its spelling."""
    found = convert(compose_config([f"experiment=unlearn/muse/{name}.yaml", "trainer=NPO", "forget_split=forget_2"]))
    config = validate_config(RunConfig, found.settings)
    assert (config.data.source, config.data.forget_corpus, config.data.task) == ("muse", corpus, 2)
    assert (config.model, config.train.schedule, config.train.batch_size) == (
        "muse-bench/MUSE-News_target", "constant", 32,
    )  # fmt: skip


def test_paraphrased_questions() -> None:
    config, found = converted("question_key=paraphrased_question")
    assert config.evaluate.question == "paraphrased"
    assert not any("question_key" in note for note in found.notes)


def test_its_gibberish_classifier() -> None:
    config, _ = converted("+eval.tofu.metrics.forget_Q_A_gibberish.handler=classifier_prob")
    assert config.evaluate.gibberish_detector == "default"
    assert converted()[0].evaluate.gibberish_detector == "none"


def test_alternate_answers() -> None:
    """community/methods/AltPO/run.sh."""
    prefix = "data.forget.TOFU_QA_forget"
    config, _ = converted(
        "trainer=DPO", "trainer.method_args.alpha=2", f"{prefix}.handler=QAwithAlternateDataset",
        f"~{prefix}.args.hf_args.name", f"{prefix}.args.hf_args.path=json",
        f"+{prefix}.args.hf_args.data_files=alt5_seed_0.json", f"+{prefix}.args.alternate_key=alternate",
    )  # fmt: skip
    assert (config.method, config.retain_coeff) == ("altpo+gd", 2.0)
    assert config.data.forget is not None
    assert config.data.forget.path == "alt5_seed_0.json"
    assert config.data.forget.columns.alternate_answers == "alternate"
    assert config.data.retain is not None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["trainer=NPO", "trainer.method_args.retain_loss_type=KL"], ["retain_loss_type=KL", "kl.positions=all"]),
        (["trainer=UNDIAL"], ["UNDIAL", "padding"]),
        (["trainer=PDU", "trainer.method_args.retain_loss_eps=0.3"], ["PDU", "epoch 5", "train.retain_bound"]),
        (["+trainer.args.lr_scheduler_type=polynomial"], ["lr_scheduler_type='polynomial'", "train.schedule"]),
        (["trainer.args.optim=sgd"], ["optim=sgd", "AdamW"]),
        (["trainer.args.optim=paged_adamw_8bit"], ["torch_dtype", "here they are bf16"]),
        (["+trainer.args.adam_beta1=0.8"], ["trainer.args.adam_beta1=0.8"]),
        (["trainer.args.warmup_epochs=2.0"], ["warmup_epochs=2.0", "train.warmup_steps"]),
        (["trainer.args.num_train_epochs=2.5"], ["num_train_epochs=2.5"]),
        (["trainer=GradDiff", "retain_split=retain99"], ["retain99", "retain90"]),
        (["question_key=question_in_french"], ["question_key=question_in_french"]),
        (["model=phi-1_5"], ["template_args", "first token"]),
        (["trainer=RMU", "trainer.method_args.module_regex=lm_head"], ["module_regex='lm_head'", "rmu.layer"]),
    ],
)
def test_what_has_no_counterpart_is_said(arguments: list[str], named: list[str]) -> None:
    _, found = converted(*arguments)
    assert_names("\n".join(found.notes), *named)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["trainer=finetune"], ["efface finetune"]),
        (["trainer=PDU"], ["retain_loss_eps"]),
        (["trainer.handler=Mine"], ["'Mine'", "NPO"]),
        (["trainer=NPO", "trainer.method_args.retain_loss_type=L2"], ["retain_loss_type='L2'", "NLL"]),
        (["trainer.args.per_device_train_batch_size=0"], ["per_device_train_batch_size"]),
        (["trainer.args.learning_rate=-1"], ["train.lr"]),
        (["model.template_args.date_string=yesterday"], ["date_string='yesterday'"]),
        (["~data.forget.TOFU_QA_forget"], ["data.forget", "none"]),
        (["data.forget=3"], ["data.forget", "none"]),
        (["trainer.handler=[NPO]"], ["trainer.handler=['NPO']"]),
        (["trainer=RMU", "trainer.method_args.trainable_params_regex=3"], ["trainable_params_regex=3"]),
        (["trainer=NPO", "trainer.method_args.retain_loss_type=[KL]"], ["trainer.method_args.retain_loss_type=['KL']"]),
        (["trainer.args.num_train_epochs=many"], ["trainer.args.num_train_epochs='many'"]),
        (["+trainer.args.max_steps=.inf"], ["trainer.args.max_steps=inf"]),
        (["+trainer.args.lr_scheduler_type={a: 1}"], ["trainer.args.lr_scheduler_type={'a': 1}"]),
        (["model=phi-1_5", "model.template_args.user_end_tag=3"], ["model.template_args.user_end_tag=3"]),
        (["~model.model_args.pretrained_model_name_or_path"], ["pretrained_model_name_or_path"]),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], named: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        converted(*arguments)
    assert_names(str(error.value), *named)


def test_only_settings_that_are_no_defaults_are_written() -> None:
    _, found = converted("trainer=GradAscent")
    text = found.to_yaml()
    assert text.startswith("method: ga\nmodel: open-unlearning/")
    assert "forget_coeff" not in text
    assert "lr:" not in text
