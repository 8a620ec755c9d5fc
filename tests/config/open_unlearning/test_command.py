"""A command of open-unlearning, and what of it the conversion did not use."""

from __future__ import annotations

import pytest

from efface.config.open_unlearning import convert_command
from efface.errors import EffaceError
from support.messages import assert_names

EXPERIMENT = "experiment=unlearn/tofu/default"


def unused(*arguments: str) -> list[str]:
    """Those of the arguments that the last note names."""
    last = convert_command([EXPERIMENT, *arguments]).notes[-1]
    return last.partition("run: ")[2].split(", ") if last.startswith("not used") else []


def test_overrides_that_are_not_used_are_noted() -> None:
    arguments = (
        "task_name=mine", "data=unlearn", "data.forget.TOFU_QA_forget.args.max_length=256", "+foo.bar=1",
        "trainer.args.logging_steps=3", "~trainer.args.save_strategy",
    )  # fmt: skip
    assert sorted(unused("trainer=NPO", *arguments)) == sorted(arguments)


@pytest.mark.parametrize(
    "argument",
    [
        "forget_split=forget10",  # as by default
        "model.template_args.apply_chat_template=true",
        "trainer.args.gradient_checkpointing=false",
        "trainer.args.learning_rate=1e-5",
        "trainer.method_args.alpha=1.0",
        "retain_logs_path=a.json",
        "+trainer.args.adam_beta1=0.8",  # has a note of its own
        "~trainer.args.warmup_epochs",
    ],
)
def test_what_is_used_is_not_in_the_note(argument: str) -> None:
    assert unused("trainer=NPO", argument) == []


def test_a_retain_set_of_a_method_without_one() -> None:
    assert unused("trainer=GradAscent", "retain_split=retain95") == ["retain_split=retain95"]
    assert unused("trainer=GradDiff", "retain_split=retain95") == []


def test_the_first_of_two_overrides_of_a_key() -> None:
    assert unused("trainer.args.seed=1", "trainer.args.seed=2") == ["trainer.args.seed=1"]


def test_the_length_of_chunks_is_used() -> None:
    key = "data.forget.MUSE_forget.args.max_length=256"
    found = convert_command(["experiment=unlearn/muse/default", key])
    assert found.settings["data"]["chunk_tokens"] == 256
    assert not any(key in note for note in found.notes)


def test_what_cannot_be_converted_names_the_command() -> None:
    with pytest.raises(EffaceError) as error:
        convert_command([EXPERIMENT, "trainer=PDU"])
    assert_names(str(error.value), f"{EXPERIMENT} trainer=PDU", "retain_loss_eps")
