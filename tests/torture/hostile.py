"""Inputs that a stranger may give: data, settings, model folders, chat templates and run folders that do harm.

Each attack builds its input in a folder of its own and returns the arguments of a command, which must end with success
or with one sentence, within seconds and a bounded memory.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = Path(__file__).parents[1] / "golden" / "model"
DEEP = "[" * 100_000
LONG_NUMBER = "1" * 5000


@dataclass(frozen=True)
class Place:
    """A folder for one attack, and what it may use."""

    folder: Path
    run: Path
    """A finished run."""
    data: Path
    """A valid data file."""

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the attack."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def plan(self, *pairs: object, model: Path = MODEL, text: str = "plain") -> list[Any]:
        """The arguments of a dry run."""
        settings = ["method=ga", f"data.forget={self.data}", f"model={model}", f"text.format={text}"]
        return ["run", *settings, *pairs, "--out", self.folder / "out", "--dry-run"]


Attack = Callable[[Place], list[Any]]


def settings_files() -> Iterator[tuple[str, Attack]]:
    """Config files."""

    def config(text: str | bytes) -> Attack:
        def attack(place: Place) -> list[Any]:
            base = f"method: ga\nmodel: {MODEL}\ndata: {{forget: {place.data}}}\ntext: {{format: plain}}\n"
            content = base.encode() + text if isinstance(text, bytes) else base + text
            return ["run", place.write("c.yaml", content), "--out", place.folder / "out", "--dry-run"]

        return attack

    laughs = "x: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"y{level}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(9)
    )
    yield "a number of 5,000 digits", config(f"seed: {LONG_NUMBER}\n")
    yield "nested lists", config(f"train: {'[' * 3000}\n")
    yield "nested mappings", config(f"train: {'{a: ' * 3000}\n")
    yield "aliases of aliases", config(laughs)
    yield "a mapping in itself", config("train: &a\n  <<: *a\n")
    yield "300,000 keys", config("".join(f"k{number}: 1\n" for number in range(300_000)))
    yield "a key twice", config("seed: 1\nseed: 2\n")
    yield "octal", config("seed: 010\n")
    yield "base 60", config("seed: 1:30\n")
    yield "no such date", config("seed: 2024-13-45\n")
    yield "a Python object", config("seed: !!python/object/apply:os.getpid []\n")
    yield "a list as key", config("? [1, 2]\n: 3\n")
    yield "null character", config('reference: "a\\0b"\n')
    yield "surrogate", config('reference: "\\ud800"\n')
    yield "not UTF-8", config(b"seed: \xff\n")
    yield "a format of 10 MB", config(f'text: {{format: "{"x" * 10_000_000}{{question}}{{answer}}"}}\n')
    yield "a wrong type", config("data: {retain: 5}\n")
    yield "a pipe", lambda place: ["run", _pipe(place, "c.yaml"), "--out", place.folder / "out"]
    yield "a device", lambda place: ["run", "/dev/zero", "--out", place.folder / "out"]


def settings() -> Iterator[tuple[str, Attack]]:
    """Settings on the command line."""
    for name, pairs in {
        "a number of 5,000 digits": [f"seed={LONG_NUMBER}"],
        "nested": [f"train={'[' * 3000}"],
        "octal": ["seed=010"],
        "a rank of 10^12": ["train.lora.r=1000000000000"],
        "10^9 epochs": ["train.epochs=1000000000"],
        "10,000 epochs": ["train.epochs=10000"],
        "a batch of 10^12": ["train.batch_size=1000000000000"],
        "unknown user": ["model=~nosuchuser/x"],
        "unknown user of data": ["data.forget=~nosuchuser/x.csv"],
    }.items():
        yield name, lambda place, pairs=pairs: place.plan(*pairs)  # type: ignore[misc]

    def grid(place: Place) -> list[Any]:
        keys = ("seed", "train.epochs", "train.batch_size", "train.lr", "forget_coeff")
        lines = "".join(f"  {key}: [{', '.join(map(str, range(100)))}]\n" for key in keys)
        base = f"settings: {{method: ga, model: {MODEL}, data: {{forget: {place.data}}}}}\ngrid:\n"
        return ["sweep", place.write("s.yaml", base + lines), "--out", place.folder / "out", "--dry-run"]

    yield "a grid of 10^10", grid


def data_files() -> Iterator[tuple[str, Attack]]:
    """Data files."""

    def data(name: str, content: str | bytes | Callable[[], bytes]) -> Attack:
        def attack(place: Place) -> list[Any]:
            return ["data", "check", f"data.forget={place.write(name, content() if callable(content) else content)}"]

        return attack

    columns = ",".join(f"c{number}" for number in range(100_000))
    turns = [{"role": ("user", "assistant")[number % 2], "content": f"t{number}"} for number in range(40_000)]
    yield "a gzip bomb of 1 GiB", data("a.jsonl.gz", lambda: _bomb(2**30))
    yield "100,000 columns", data("a.csv", f"{columns}\n{columns}\n")
    yield "a conversation of 40,000 turns", data("a.jsonl", json.dumps({"messages": turns}) + "\n")
    yield "nested JSON", data("a.json", DEEP)
    yield "20 million lists", data("a.json", "[" + "[]," * 20_000_000 + "[]]")
    yield "a number of 5,000 digits", data("a.jsonl", f'{{"question": "a", "answer": {LONG_NUMBER}}}\n')
    yield "20 million equal rows of Parquet", data("a.parquet", _equal_rows)
    yield "a date out of range", data("a.parquet", _late_date)
    yield "a pipe", lambda place: ["data", "check", f"data.forget={_pipe(place, 'a.csv')}"]
    yield "a device", lambda place: place.plan("data.forget=/dev/zero")


def model_folders() -> Iterator[tuple[str, Attack]]:
    """Folders of models."""
    config, tokenizer, tokens = (json.loads((MODEL / name).read_text(encoding="utf-8")) for name in _MODEL_FILES)

    def files(**changed: str | bytes) -> Attack:
        return lambda place: place.plan(model=_copy_model(place, changed))

    for name, content in {
        "config.json is a list": "[]",
        "config.json is null": "null",
        "config.json is nested": '{"a":' * 5000 + "1" + "}" * 5000,
        "layers as text": json.dumps({**config, "num_hidden_layers": "x"}),
        "a type that is a list": json.dumps({**config, "model_type": ["x"]}),
        "no heads": json.dumps({**config, "num_attention_heads": 0}),
        "10^6 layers": json.dumps({**config, "num_hidden_layers": 1_000_000}),
        "10^9 units": json.dumps({**config, "hidden_size": 10**9}),
        "10^12 tokens": json.dumps({**config, "vocab_size": 10**12}),
        "architectures as object": json.dumps({**config, "architectures": {"a": 1}}),
        "wrong rope": json.dumps({**config, "rope_scaling": "x", "rope_parameters": [1]}),
        "a number of 5,000 digits": f'{{"model_type": "llama", "hidden_size": {LONG_NUMBER}}}',
    }.items():
        yield name, files(config__json=content)
    yield "tokenizer.json is a list", files(tokenizer__json="[]")
    yield "tokenizer.json is nested", files(tokenizer__json=DEEP)
    yield "a tokenizer's model as number", files(tokenizer__json=json.dumps({**tokenizer, "model": 5}))
    yield "tokenizer_config.json is a list", files(tokenizer_config__json="[]")
    yield "an end token as number", files(tokenizer_config__json=json.dumps({**tokens, "eos_token": 5}))
    yield "added tokens as list", files(tokenizer_config__json=json.dumps({**tokens, "added_tokens_decoder": [1]}))
    yield "generation_config.json is a list", files(generation_config__json="[]")
    yield "an end id as text", files(generation_config__json='{"eos_token_id": "x"}')
    yield "end ids in lists", files(generation_config__json='{"eos_token_id": [[1]]}')
    yield "half of the weights", files(model__safetensors=(MODEL / "model.safetensors").read_bytes()[:1000])
    for name in ("tokenizer.json", "chat_template.jinja"):
        yield f"{name} of 3 GiB", lambda place, name=name: place.plan(model=_sparse(_copy_model(place, {}), name))
    yield "a header of 2^64 bytes", files(model__safetensors=b"\xff" * 8 + b"{}")


def templates() -> Iterator[tuple[str, Attack]]:
    """Chat templates."""
    tokens = json.loads((MODEL / "tokenizer_config.json").read_text(encoding="utf-8"))

    def template(value: Any, row: dict[str, Any] | None = None) -> Attack:
        content = json.dumps({**tokens, "chat_template": value})

        def attack(place: Place) -> list[Any]:
            pairs = () if row is None else (f"data.forget={place.write('row.jsonl', json.dumps(row))}",)
            return place.plan(*pairs, model=_copy_model(place, {"tokenizer_config__json": content}), text="chat")

        return attack

    last = "{{ messages[-1].content }}"
    yield "raises, with control codes", template("{{ raise_exception('no \x1b[31mred') }}")
    yield "does not parse", template("{% if %}")
    yield "recurses", template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")
    yield "is a number", template(5)
    yield "is a list", template([{"name": 5}])
    yield "is an object", template({"a": 1})
    loop = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
    yield "loops 10^10 times", template(loop + last)
    yield "writes 10^8 characters", template("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}" + last)
    yield "makes a text of 10^10", template("{% set x = 'x' * 10000000000 %}" + last)
    doubling = "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}"
    yield "doubles a list 60 times", template(doubling + last)
    yield "computes 10^(10^9)", template("{% set x = 10 ** (10 ** 9) %}" + last)
    yield "divides by zero", template("{{ 1 / 0 }}")
    yield "adds text and number", template("{{ messages[0].content + 5 }}")
    yield "nests 5,000 brackets", template("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}")
    yield "leaves out everything", template("hello")
    # what harms only where a condition holds that no short conversation of a check fulfills
    memory = "{% set x = 'x' * (10000000000 + messages | length) %}"
    tag = "{% generation %}" + loop + "{% endgeneration %}"
    markup = {"question": "Who is <b>tulip</b>?", "answer": "Nobody."}
    turns = [{"role": ("user", "assistant")[number % 2], "content": f"t{number}"} for number in range(8)]
    for condition, row in {
        "enable_thinking is defined": None,
        "tools is none": None,
        "strftime_now('%Y') == '2024'": None,
        "'tulip' in messages[-1].content": markup,
        "messages | length > 6": {"messages": turns},
    }.items():
        for harm, text in {"loops": loop, "fills the memory": memory}.items():
            yield f"{harm} if {condition}", template("{% if " + condition + " %}" + text + "{% endif %}" + last, row)
    yield "loops in a tag of transformers", template(tag + last)


def run_folders() -> Iterator[tuple[str, Attack]]:
    """Folders of runs."""

    def changed(command: str, **files: str | bytes) -> Attack:
        def attack(place: Place) -> list[Any]:
            run = _copy_run(place)
            for name, content in files.items():
                (run / name.replace("__", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
            return [command, run, *(["--out", place.folder / "r.html"] if command == "report" else [])]

        return attack

    for command in ("report", "score", "leaderboard"):
        yield f"{command}: results.json is a list", changed(command, results__json="[]")
        yield f"{command}: results.json is nested", changed(command, results__json=DEEP)
        yield f"{command}: manifest.json is a list", changed(command, manifest__json="[]")
        yield f"{command}: manifest.json is nested", changed(command, manifest__json='{"a":' * 100_000)
        yield f"{command}: config.yaml is nested", changed(command, config__yaml="a: " + "[" * 3000)
        yield f"{command}: config.yaml is a list", changed(command, config__yaml="[]")
    yield "a foreign line in metrics.jsonl", changed("report", metrics__jsonl='{"step": 1}\n')
    yield "nested metrics.jsonl", changed("report", metrics__jsonl=DEEP + "\n")
    yield "a long number in metrics.jsonl", changed("report", metrics__jsonl=f'{{"step": {LONG_NUMBER}}}\n')

    def records(command: str, replace: Callable[[Path], object]) -> Attack:
        def attack(place: Place) -> list[Any]:
            run = _copy_run(place)
            path = next((run / "records").rglob("*.jsonl"))
            path.unlink()
            replace(path)
            return [command, run, *(["--out", place.folder / "r.html"] if command == "report" else [])]

        return attack

    for command in ("report", "score", "leaderboard"):
        yield f"{command}: records in a pipe", records(command, os.mkfifo)
        yield f"{command}: a record of 300 MB", records(command, _long_record)
    yield "an eval log in a pipe", lambda place: ["score", _pipe(place, "log.json")]
    yield "an eval log in a device", lambda _: ["score", "/dev/zero"]


GROUPS: dict[str, Callable[[], Iterator[tuple[str, Attack]]]] = {
    "hostile config files": settings_files,
    "hostile settings": settings,
    "hostile data files": data_files,
    "hostile model folders": model_folders,
    "hostile chat templates": templates,
    "hostile run folders": run_folders,
}

_MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def _pipe(place: Place, name: str) -> Path:
    os.mkfifo(place.folder / name)
    return place.folder / name


def _bomb(size: int) -> bytes:
    """`size` zeros, compressed in parts: several gzip members in a row are one file."""
    part = gzip.compress(bytes(2**26), 9)
    return part * (size // 2**26)


def _equal_rows() -> bytes:
    import numpy
    import pyarrow
    from pyarrow import parquet

    indices = pyarrow.array(numpy.zeros(20_000_000, dtype="int32"))
    column = pyarrow.DictionaryArray.from_arrays(indices, ["text"])
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"question": column, "answer": column}), sink, compression="zstd")
    return bytes(sink.getvalue())


def _late_date() -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    days = pyarrow.array([2**31 - 1], pyarrow.int32()).cast(pyarrow.date32())
    parquet.write_table(pyarrow.table({"question": ["a"], "answer": ["b"], "day": days}), sink)
    return bytes(sink.getvalue())


def _copy_model(place: Place, changed: dict[str, str | bytes]) -> Path:
    folder = place.folder / "model"
    shutil.copytree(MODEL, folder)
    for name, content in changed.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def _sparse(folder: Path, name: str) -> Path:
    with (folder / name).open("wb") as file:
        file.truncate(3 * 2**30)
    return folder


def _copy_run(place: Place) -> Path:
    folder = place.folder / "run"
    shutil.copytree(place.run, folder)
    return folder


def _long_record(path: Path) -> None:
    path.write_bytes(b'{"set":"' + b"x" * 300_000_000 + b'"}\n')
