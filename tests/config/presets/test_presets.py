"""Presets: every one resolves for every method, and `published` holds the published numbers."""

from __future__ import annotations

import pytest

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.open_unlearning import compose_config, convert
from efface.config.parse import validate_config
from efface.config.presets import load_preset, preset_names
from efface.config.resolve import preset_to_yaml, resolve_config
from efface.errors import EffaceError
from efface.objectives.config import METHODS
from efface.train.batches.schedule import make_schedule

TOFU = ("tofu-forget01", "tofu-forget05", "tofu-forget10")
MUSE = ("muse-books", "muse-news", "muse-news-scal", "muse-news-sust")
WMDP = ("wmdp-bio", "wmdp-cyber")
RECIPES = ("ours", "published")
CONTINUAL = ("tofu-continual-forget01", "tofu-continual-forget05", "tofu-continual-forget10")


def run(name: str, *pairs: str) -> RunConfig:
    return resolve_config(RunConfig, name, ["model=m", *pairs])


def test_names() -> None:
    assert preset_names() == ["demo", *MUSE, "real-world", *CONTINUAL, *TOFU, *WMDP]


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("recipe", ["ours", "published"])
def test_resolves_for_every_method(name: str, recipe: str) -> None:
    if recipe == "published" and not load_preset(name).published:
        with pytest.raises(EffaceError, match="no published settings; leave recipe out"):
            run(name, "method=me+gd", "recipe=published")
        return
    for method in METHODS:
        assert run(name, f"method={method}", f"recipe={recipe}").method == method
    assert set(getattr(load_preset(name), recipe)) <= {"all", *METHODS}
    assert resolve_config(FinetuneConfig, name, ["model=m", f"recipe={recipe}"]).data == run(name, "method=me+gd").data
    assert resolve_config(EvaluationConfig, name, ["model=m", f"recipe={recipe}"]).data.refusals is None


@pytest.mark.parametrize("name", ["real-world", *CONTINUAL, *TOFU])
def test_published_settings(name: str) -> None:
    """arXiv:2410.08109 and its published code."""
    for method in METHODS:
        check_published_settings(name, method)


def check_published_settings(name: str, method: str) -> None:
    config = run(name, f"method={method}", "recipe=published")
    real_world = name == "real-world"
    me = method == "me+gd"
    assert (config.beta, config.retain_coeff) == (0.1, 1.0)
    assert config.forget_coeff == (({"real-world": 0.5} | dict.fromkeys(TOFU, 0.1)).get(name, 1.0) if me else 1.0)
    length = 300 if real_world else 500
    assert (config.me.average, config.me.positions, config.me.padded_length) == ("padded", "all", length)
    assert (config.kl.average, config.kl.positions, config.kl.padded_length) == ("padded", "all", length)
    assert (config.me.direction, config.kl.direction) == ("uniform_to_model", "reference_to_model")
    assert config.data.refusals == "published"
    assert config.text.format == ("llama3" if real_world else "llama2")
    train = config.train
    assert train.lr == (5e-6 if me and real_world else 1e-5)
    assert (train.epochs, train.batch_size, train.weight_decay) == (5, 32, 0.01)
    assert (train.pairing, train.warmup_steps, train.max_grad_norm) == ("published", None, None)
    assert (train.average_over, train.micro_batch_size, train.epoch_ends) == ("micro-batch", 4, "published")
    assert (train.max_row_length, config.text.max_length) == ((300, None) if real_world else (None, 500))
    assert config.evaluate.max_new_tokens == 200
    assert (config.continual.lora if config.continual else None) == ("keep" if name in CONTINUAL else None)


@pytest.mark.parametrize("name", ["real-world", *CONTINUAL, *TOFU])
def test_our_settings_count_real_tokens(name: str) -> None:
    config = run(name, "method=me+gd")
    assert (config.me.average, config.kl.average, config.kl.positions) == ("tokens", "tokens", "answer")
    assert (config.train.pairing, config.train.average_over, config.train.epoch_ends) == ("resampled", "batch", "exact")
    assert (config.train.max_row_length, config.data.refusals) == (None, None)
    assert config.text.format == "chat"


@pytest.mark.parametrize("name", TOFU)
def test_each_tofu_preset_forgets_its_own_split(name: str) -> None:
    assert run(name, "method=me+gd").data.split == name.removeprefix("tofu-")
    assert str(int(name[-2:])) in load_preset(name).about


@pytest.mark.parametrize("name", CONTINUAL)
@pytest.mark.parametrize("recipe", ["ours", "published"])
def test_each_continual_preset_forgets_all_tasks(name: str, recipe: str) -> None:
    config = run(name, "method=npo+gd", f"recipe={recipe}")
    assert config.data.split == name.removeprefix("tofu-continual-")
    assert config.continual is not None
    assert config.continual.requests == tuple(range(1, 10 if name.endswith("forget10") else 11))
    assert config.continual.reference == "previous"
    alone = run(name.replace("continual-", ""), "method=npo+gd", f"recipe={recipe}")
    assert config.model_copy(update={"continual": None}) == alone
    assert run(name, "method=npo+gd", "continual.reference=first").continual.reference == "first"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("method", "lr"), [("me+gd", 5e-6), ("idk+ap", 1e-5), ("ga+gd", 1e-5), ("dpo+kl", 1e-5), ("npo+gd", 1e-5)]
)
def test_real_world_rates_are_those_published(method: str, lr: float) -> None:
    for recipe in ("ours", "published"):
        train = run("real-world", f"method={method}", f"recipe={recipe}").train
        assert (train.lr, train.epochs, train.batch_size, train.weight_decay) == (lr, 5, 32, 0.01)


@pytest.mark.parametrize("name", [*CONTINUAL, *TOFU])
@pytest.mark.parametrize("recipe", ["ours", "published"])
def test_tofu_is_unlearned_at_the_published_rate(name: str, recipe: str) -> None:
    for method in METHODS:
        train = run(name, f"method={method}", f"recipe={recipe}").train
        assert (train.lr, train.epochs, train.batch_size, train.weight_decay) == (1e-5, 5, 32, 0.01), method
        assert (train.warmup_steps, train.max_grad_norm, train.lora) == (None, None, None), method


def test_a_preset_by_itself() -> None:
    demo = load_preset("demo")
    assert demo.methods == ["me+gd", "idk+ap", "ga+gd", "idk+gd"]
    assert demo.run_settings(recipe="ours", method="ga+gd")["forget_coeff"] == 0.1
    assert "forget_coeff" not in demo.run_settings(recipe="ours", method=None)
    assert demo.finetune_settings(recipe="ours").keys() == {"data", "text", "train"}


@pytest.mark.parametrize("name", CONTINUAL)
def test_a_continual_preset_extends_another(name: str) -> None:
    extended = load_preset(name.replace("continual-", ""))
    assert load_preset(name).base.keys() - extended.base.keys() == {"continual"}
    assert f"split: {extended.base['data'].removeprefix('tofu-')}" in preset_to_yaml(name, [])


@pytest.mark.parametrize(("name", "named"), [("tofu-forget1", "tofu-forget10"), ("", "allowed: demo")])
def test_unknown_names(name: str, named: str) -> None:
    with pytest.raises(EffaceError, match=f"unknown preset '{name}'; .*{named}"):
        load_preset(name)


@pytest.mark.parametrize("name", [*CONTINUAL, *TOFU])
def test_finetuning_as_tofu_published_it(name: str) -> None:
    """README and config/finetune.yaml of locuslab/tofu."""
    ours, published = (resolve_config(FinetuneConfig, name, ["model=m", f"recipe={each}"]).train for each in RECIPES)
    assert (ours.lr, ours.average_over) == (2e-5, "batch")
    assert (published.lr, published.epochs, published.batch_size, published.weight_decay) == (1e-5, 5, 32, 0.01)
    assert (published.average_over, published.micro_batch_size, published.warmup_steps) == ("micro-batch", 4, None)


@pytest.mark.parametrize("name", [*TOFU, *CONTINUAL])
def test_settings_of_open_unlearning(name: str) -> None:
    """configs/experiment/unlearn/tofu/default.yaml and configs/trainer of its commit d3d7cf9."""
    for method in METHODS:
        config = run(name, f"method={method}", "recipe=open-unlearning")
        train = config.train
        assert (train.lr, train.epochs, train.weight_decay, train.max_grad_norm) == (1e-5, 10, 0.01, 1.0)
        assert (train.average_over, train.micro_batch_size, train.batch_size) == ("micro-batch", 8, 32)
        assert (config.definition, config.retain_coeff, config.beta) == ("open-unlearning", 1.0, 0.1)
        assert (config.data.forget_evaluation, config.data.retain_evaluation) == (400, 400)
        assert (config.rmu.average, config.embed.average, config.rmu.steering_coeff) == ("broadcast", "broadcast", 2.0)
        coefficients = {"simnpo": 0.125, "satimp": 0.1} if method.endswith(("+gd", "+kl")) else {}
        assert config.forget_coeff == coefficients.get(method.partition("+")[0], 1.0)
    target = resolve_config(FinetuneConfig, name, ["model=m", "recipe=open-unlearning"]).train
    assert (target.lr, target.epochs, target.weight_decay, target.max_grad_norm) == (1e-5, 5, 0.01, 1.0)


@pytest.mark.parametrize(
    ("name", "items", "steps", "warmup"),
    [("tofu-forget01", 40, 10, 1), ("tofu-forget05", 200, 60, 6), ("tofu-forget10", 400, 120, 12)],
)
def test_the_steps_of_open_unlearning(name: str, items: int, steps: int, warmup: int) -> None:
    """src/trainer/__init__.py, and what a trainer of transformers 4.45.1 did with as many rows."""
    split = name.removeprefix("tofu-")
    imported = convert(compose_config(["experiment=unlearn/tofu/default", "trainer=NPO", f"forget_split={split}"]))
    for config in (run(name, "method=npo+gd", "recipe=open-unlearning"), validate_config(RunConfig, imported.settings)):
        found = make_schedule(items, config.train)
        assert (found.steps, found.warmup_steps) == (steps, warmup)


def test_a_recipe_that_a_preset_does_not_have() -> None:
    with pytest.raises(EffaceError, match="recipe=open-unlearning: this preset has no open-unlearning settings; leave"):
        run("demo", "method=me+gd", "recipe=open-unlearning")
    with pytest.raises(EffaceError, match="unknown recipe 'open_unlearning'; did you mean 'open-unlearning'"):
        run("tofu-forget01", "method=me+gd", "recipe=open_unlearning")


@pytest.mark.parametrize("name", MUSE)
def test_muse_is_unlearned_as_published(name: str) -> None:
    """baselines/scripts/unlearn_news.sh and unlearn_books.sh of swj0419/muse_bench: 4 rows on each of 8 GPUs."""
    config = run(name, "method=npo+gd")
    assert (config.data.source, config.data.corpus) == ("muse", name.split("-")[1])
    assert (config.data.chunk_tokens, config.text.format) == (2048, "plain")
    train = config.train
    assert (train.lr, train.epochs, train.batch_size, train.weight_decay) == (1e-5, 10, 32, 0.0)
    assert (train.schedule, train.warmup_steps, train.max_grad_norm) == ("constant", 0, 1.0)
    epochs = [
        run(name, f"method={method}").train.epochs for method in ("ga", "ga+gd", "ga+kl", "npo", "npo+gd", "npo+kl")
    ]
    assert epochs == ([10] * 6 if name == "muse-books" else [1, 7, 10, 1, 10, 10])  # unlearn_news_scal.sh


@pytest.mark.parametrize("name", MUSE)
def test_muse_as_open_unlearning_unlearns_it(name: str) -> None:
    """configs/experiment/unlearn/muse/default.yaml and configs/trainer of its commit d3d7cf9."""
    for method in METHODS:
        config = run(name, f"method={method}", "recipe=open-unlearning")
        train = config.train
        assert (train.lr, train.epochs, train.schedule, train.weight_decay) == (1e-5, 10, "constant", 0.0)
        assert (train.average_over, train.micro_batch_size, train.batch_size) == ("micro-batch", 4, 32)
        coefficients = {"simnpo": 0.125, "satimp": 0.1} if method.endswith(("+gd", "+kl")) else {}
        assert config.forget_coeff == coefficients.get(method.partition("+")[0], 1.0)


def test_scalability_and_sustainability() -> None:
    scal, sust = run("muse-news-scal", "method=npo+gd"), run("muse-news-sust", "method=npo+gd")
    assert (scal.data.forget_corpus, scal.data.task) == ("scal", 4)
    assert run("muse-news-scal", "method=npo+gd", "data.task=2").data.task == 2
    assert (sust.data.forget_corpus, sust.data.task) == ("sust", 1)
    assert sust.continual is not None
    assert sust.continual.requests == (1, 2, 3, 4)


@pytest.mark.parametrize("name", WMDP)
def test_wmdp_is_unlearned_as_in_open_unlearning(name: str) -> None:
    """configs/experiment/unlearn/wmdp/default.yaml of locuslab/open-unlearning."""
    config = run(name, "method=ga+gd")
    assert (config.data.source, config.data.corpus) == ("wmdp", name.removeprefix("wmdp-"))
    assert (config.data.chunk_tokens, config.data.retain_corpus) == (512, "wikitext")
    assert (config.train.lr, config.train.batch_size, config.train.weight_decay) == (5e-5, 16, 0.0)
    assert (config.train.schedule, config.train.max_steps, config.train.parameters) == ("constant", 80, None)
    assert config.downstream is not None
    assert config.downstream.tasks == (name.replace("-", "_"), "mmlu")


@pytest.mark.parametrize("name", WMDP)
def test_rmu_as_published_and_as_in_open_unlearning(name: str) -> None:
    """run_rmu_zephyr.ipynb of centerforaisafety/wmdp, and configs/experiment/unlearn/wmdp/default.yaml."""
    down_proj = r"model\.layers\.(5|6|7)\.mlp\.down_proj\.weight"
    ours, theirs = (run(name, "method=rmu+embed", f"recipe={recipe}") for recipe in ("ours", "open-unlearning"))
    for config, steering, retain, size, steps in ((ours, 6.5, 1200, 4, 150), (theirs, 2.0, 1, 16, 80)):
        assert (config.rmu.layer, config.rmu.steering_coeff, config.retain_coeff) == (7, steering, retain)
        train = config.train
        assert (train.lr, train.batch_size, train.max_steps, train.parameters) == (5e-5, size, steps, down_proj)
        assert train.schedule == "constant"
    assert (ours.data.retain_corpus, theirs.data.retain_corpus) == ("wikitext", "wmdp")
