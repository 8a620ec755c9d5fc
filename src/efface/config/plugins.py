"""Objectives and metrics of the user's own: found in the files and modules that the settings name. No torch.

A plug-in is code that runs with the user's rights. Only what is named is ever imported.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import reprlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from efface.artifacts import METRICS, Partial
from efface.errors import EffaceError, summarize_error
from efface.objectives.config import FORGET, LLMU, RETAIN
from efface.objectives.custom import CustomObjective, ForgetObjective, RetainObjective
from efface.scores.custom import RecordMetric

PluginClass = type[CustomObjective] | type[RecordMetric]

_BASES = (ForgetObjective, RetainObjective, RecordMetric)
_NAMES = ", ".join(f"efface.{base.__name__}" for base in _BASES)
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_OBJECTIVES_TAKEN = frozenset({*FORGET, *RETAIN, LLMU})
_METRICS_TAKEN = frozenset({*METRICS, *Partial.model_fields})


@dataclass(frozen=True)
class Plugin:
    """A class that extends efface, and how a config file names it."""

    spec: str
    """`path/to/file.py:Class` or `package.module:Class`."""
    cls: PluginClass = field(compare=False)

    @property
    def sha256(self) -> str | None:
        """Of the file that holds the class; None for one typed into a notebook or at the prompt."""
        module = sys.modules.get(self.cls.__module__)
        path = Path(getattr(module, "__file__", None) or "")
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def load_plugins(given: Any) -> tuple[Plugin, ...]:
    """The plug-ins that one or several of these name: a file or module, all or one class of it, or a class itself.

    `path/to/file.py` and `package.module` stand for every plug-in class that is written there; with `:Class` behind
    it, for that one. Paths start from the working directory. Raises `EffaceError` for what does not import, is no
    plug-in or has no usable name.
    """
    if given is None:
        return ()
    several = given if isinstance(given, list | tuple) else [given]
    found: dict[object, Plugin] = {}  # what is given twice counts once
    for each in several:
        for plugin in _plugins(each):
            # a file that is read again makes its classes anew; classes of one place may differ, as a function's do
            found[plugin.spec if isinstance(each, str | Path) else plugin.cls] = plugin
    _refuse_shared_names(found.values())
    return tuple(found.values())


Plugins = Annotated[
    tuple[Plugin, ...],
    PlainValidator(load_plugins),
    PlainSerializer(lambda plugins: [plugin.spec for plugin in plugins], return_type=list[str]),
]
"""A setting: given as what `load_plugins` takes, written as what it can find again."""


def custom_objectives(plugins: Iterable[Plugin]) -> tuple[CustomObjective, ...]:
    """The objectives among the plug-ins."""
    return tuple(plugin.cls() for plugin in plugins if issubclass(plugin.cls, CustomObjective))


def custom_metrics(plugins: Iterable[Plugin]) -> tuple[RecordMetric, ...]:
    """The metrics among the plug-ins."""
    return tuple(plugin.cls() for plugin in plugins if issubclass(plugin.cls, RecordMetric))


def hashes(plugins: Iterable[Plugin]) -> dict[str, str]:
    """Each plug-in's spec -> SHA-256 of its file, where it has one."""
    return {plugin.spec: digest for plugin in plugins if (digest := plugin.sha256)}


def _plugins(given: Any) -> list[Plugin]:
    if isinstance(given, Plugin):
        return [given]
    if isinstance(given, type):
        return [Plugin(_spec(given), _checked(given, given.__qualname__))]
    if not isinstance(given, str | Path):
        raise EffaceError(
            f"plugins: {reprlib.repr(given)} is no plug-in; give path/to/file.py or package.module, either with :Class "
            "behind it, or a class"
        )
    where, name = _place_and_class(str(given))
    module = _from_file(Path(where)) if where.endswith(".py") else _from_name(where)
    classes = [_named(module, where, name)] if name else _written_in(module, where)
    return [Plugin(f"{where}:{each.__qualname__}", _checked(each, f"{where}:{each.__qualname__}")) for each in classes]


def _spec(cls: type) -> str:
    """How a config file names a class that was given itself.

    A file that belongs to no package is named by its path: another process may not find it by its name.
    """
    module = sys.modules.get(cls.__module__)
    path = None if getattr(module, "__package__", None) else getattr(module, "__file__", None)
    return f"{path or cls.__module__}:{cls.__qualname__}"


def _place_and_class(spec: str) -> tuple[str, str | None]:
    place, colon, name = spec.rpartition(":")
    if not colon or not re.fullmatch(r"[\w.<>]+", name):
        return spec, None  # no class, or the colon of a Windows drive
    if "<locals>" in name or place == "__main__":
        raise EffaceError(
            f"plug-in {spec} was written inside a function or a notebook, where nothing else can find it; move it to a "
            "file and name that"
        )
    return place, name


def _from_file(path: Path) -> ModuleType:
    """A file's module, read anew each time: in a notebook, files change between two runs."""
    path = path.expanduser()
    if not path.is_file():
        raise EffaceError(f"plug-in {path}: there is no such file; paths start from the working directory")
    name = f"efface_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None, "a name that ends in .py has a loader"
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code raises what it likes
        del sys.modules[name]
        raise _does_not_import(str(path), path, error) from error
    return module


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise EffaceError(
                f"plug-in {name!r}: no such module is installed; for a file, give path/to/file.py"
            ) from error
        raise _does_not_import(name, None, error) from error
    except (Exception, SystemExit) as error:  # the user's code raises what it likes, and a name may be no name
        raise _does_not_import(name, None, error) from error


def _does_not_import(what: str, path: Path | None, error: BaseException) -> EffaceError:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if path is not None and Path(frame.filename) == path.absolute()]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = f", line {line}" if line else ""
    return EffaceError(f"plug-in {what}{where} does not import ({summarize_error(error)}); correct it there")


def _named(module: ModuleType, where: str, name: str) -> type:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        there = ", ".join(each.__qualname__ for each in _candidates(module)) or "none"
        raise EffaceError(f"plug-in {where}:{name}: there is no such class; plug-in classes there: {there}")
    return found


def _written_in(module: ModuleType, where: str) -> list[type]:
    """Every plug-in class of a module or of the package's modules that it shows, but for those marked private."""
    if found := _candidates(module):
        return found
    raise EffaceError(f"plug-in {where} holds no plug-in; derive a class in it from one of {_NAMES}")


def _candidates(module: ModuleType) -> list[type]:
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, _BASES)
        and not name.startswith("_")
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]


def _checked(cls: type, here: str) -> PluginClass:
    """The class, if it can be used. Raises `EffaceError` that names it."""
    if not issubclass(cls, _BASES):
        raise EffaceError(f"plug-in {here} is no plug-in; derive it from one of {_NAMES}")
    if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
        raise EffaceError(f"plug-in {here} lacks the method {', '.join(lacking)}; write it")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = "has no name" if name is None else f"is called {reprlib.repr(name)}"
        raise EffaceError(
            f"plug-in {here} {given}; give it one of lower-case letters, digits, - and _, such as "
            f'name = "{cls.__name__.lower()}"'
        )
    if name in (_METRICS_TAKEN if issubclass(cls, RecordMetric) else _OBJECTIVES_TAKEN):
        raise EffaceError(f"plug-in {here} is called {name!r}, as something built in is; give it another name")
    try:
        cls()
    except Exception as error:  # the user's code raises what it likes
        raise EffaceError(
            f"plug-in {here} cannot be made ({summarize_error(error)}); let it take no arguments"
        ) from error
    return cls


def _refuse_shared_names(plugins: Iterable[Plugin]) -> None:
    seen: dict[tuple[bool, str], Plugin] = {}
    for plugin in plugins:
        twin = seen.setdefault((issubclass(plugin.cls, RecordMetric), plugin.cls.name), plugin)
        if twin is not plugin:
            raise EffaceError(f"plug-ins {twin.spec} and {plugin.spec} are both called {plugin.cls.name!r}; rename one")
