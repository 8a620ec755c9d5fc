"""A JSON schema of a config file, for editors that complete and check YAML. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from efface.config import reference
from efface.config.commands import RunConfig
from efface.config.presets import RECIPES, preset_names
from efface.data.config import MODEL_ANSWERS, SHORTHANDS, FileConfig

COMMANDS = ("run", "finetune", "evaluate")


def json_schema(command: str = "run") -> dict[str, Any]:
    """Describe the config file of a command.

    A file may leave out what a preset or the command line sets, so nothing is required; short forms such as
    `lora: true` and `data: tofu-forget01` are allowed.

    Args:
        command: One of `COMMANDS`.

    Returns:
        A JSON schema, draft 2020-12.
    """
    config_class = reference.COMMANDS[command]
    schema = config_class.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for each in _classes(config_class):
        _describe(definitions[each.__name__] if each is not config_class else schema, each)
    _allow_short_forms(schema, definitions)
    schema["properties"] |= {
        "preset": {"enum": list(preset_names()), "description": "Settings to start from; see `efface presets`."},
        "recipe": {"enum": list(RECIPES), "description": "Which settings of the preset."},
    }
    if command == "evaluate":  # it takes the config.yaml of a run
        ignored = {"description": "Only a run has it; `efface evaluate` ignores it."}
        others = RunConfig.model_fields.keys() - config_class.model_fields.keys()
        schema["properties"] |= dict.fromkeys(sorted(others), ignored)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Settings of efface {command}",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _classes(config_class: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The config class and all that its settings contain."""
    yield config_class
    for field in config_class.model_fields.values():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _classes(part)


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for each in get_args(annotation):
        yield from _parts(each)


def _describe(schema: dict[str, Any], config_class: type[BaseModel]) -> None:
    """Add the sentences of the settings; nothing is required, and titles only repeat the names."""
    schema.pop("required", None)
    schema.pop("title", None)
    sentences = {each.key: each.sentence for each in reference.settings(config_class) if "." not in each.key}
    for name, sentence in sentences.items():
        field = schema["properties"][name]
        field.pop("title", None)
        field["description"] = sentence


def _allow_short_forms(schema: dict[str, Any], definitions: dict[str, Any]) -> None:
    """What `key=value` and YAML may have in place of a group of settings."""
    boolean, text = {"type": "boolean"}, {"type": "string"}
    if "plugins" in schema["properties"]:  # they have a validator of their own
        schema["properties"]["plugins"] |= {"anyOf": [text, {"type": "array", "items": text}]}
    _add(schema["properties"], "data", {"enum": list(SHORTHANDS)})
    _add(schema["properties"], "downstream", boolean)
    for group, name, form in (
        ("TrainConfig", "lora", boolean),
        ("EvaluateConfig", "stop", text),
        ("DownstreamConfig", "tasks", text),
    ):
        _add(definitions.get(group, {}).get("properties", {}), name, form)
    data = definitions["DataConfig"]["properties"]
    for name in ("forget", "retain", "extra_retain", "few_shot", "holdout"):
        _add(data, name, text)
    data["retain"]["description"] += f" `{MODEL_ANSWERS}` or a path."
    path = {"anyOf": [text, {"$ref": f"#/$defs/{FileConfig.__name__}"}, {"type": "integer"}]}
    for group, name in (("DataConfig", "forgotten_before"), ("ContinualConfig", "requests")):
        if group in definitions:
            definitions[group]["properties"][name]["items"] = path


def _add(properties: dict[str, Any], name: str, form: dict[str, Any]) -> None:
    if name not in properties:
        return
    field = properties[name]
    kept = {key: field.pop(key) for key in ("description", "default") if key in field}
    properties[name] = {"anyOf": [form, *field.get("anyOf", [field])], **kept}
