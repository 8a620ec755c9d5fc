"""Plug-ins: custom objectives and metrics, loaded from the files and modules that the settings name. No torch.

A plug-in is code that runs with the user's rights. Only what the settings name is ever imported.
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
from typing import Annotated, Any, cast

from pydantic import PlainSerializer, PlainValidator

from efface.artifacts import METRICS, UNCOUNTED_METRICS, Partial
from efface.errors import EffaceError, summarize_error
from efface.files.safe_read import expand_home
from efface.objectives.config import FORGET, LLMU, RETAIN
from efface.objectives.custom import CustomObjective, ForgetObjective, RetainObjective
from efface.scores.custom import RecordMetric

PluginClass = type[CustomObjective] | type[RecordMetric]

_BASES = (ForgetObjective, RetainObjective, RecordMetric)
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_BUILT_IN_OBJECTIVES = frozenset({*FORGET, *RETAIN, LLMU})
_BUILT_IN_SCORES = frozenset({*METRICS, *UNCOUNTED_METRICS, *Partial.model_fields})


@dataclass(frozen=True)
class Plugin:
    """A plug-in class, and how a config file names it."""

    spec: str
    """`path/to/file.py:Class` or `package.module:Class`."""
    cls: PluginClass = field(compare=False)

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the file that defines the class; None for a class from a notebook or the Python prompt."""
        module = sys.modules.get(self.cls.__module__)
        path = Path(getattr(module, "__file__", None) or "")
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def load_plugins(given: Any, bases: tuple[type, ...] = _BASES) -> tuple[Plugin, ...]:
    """Load and check plug-in classes.

    Args:
        given: One or several of: a file or module, for all plug-in classes that it defines; the same followed by
            `:Class`, for one of them; a class; a `Plugin`. Paths are relative to the working directory. None for none.
        bases: The classes that a plug-in is derived from; a module may also define plug-ins of other kinds.

    Returns:
        The plug-ins, each once, in the order given.

    Raises:
        EffaceError: For something that cannot be imported, is not a plug-in, or has no usable name.
    """
    if given is None:
        return ()
    sources = given if isinstance(given, list | tuple) else [given]
    plugins: dict[object, Plugin] = {}
    for source in sources:
        for plugin in _load(source, bases):
            # a file that is loaded twice defines new classes each time; different classes may share a spec, such as
            # those that one function returns
            plugins[plugin.spec if isinstance(source, str | Path) else plugin.cls] = plugin
    _check_unique_names(plugins.values())
    return tuple(plugins.values())


Plugins = Annotated[
    tuple[Plugin, ...],
    PlainValidator(load_plugins),
    PlainSerializer(lambda plugins: [plugin.spec for plugin in plugins], return_type=list[str]),
]
"""Type of a setting: takes what `load_plugins` takes, and is saved as specs that `load_plugins` finds again."""


def custom_objectives(plugins: Iterable[Plugin]) -> tuple[CustomObjective, ...]:
    """Instances of the objectives among `plugins`."""
    return tuple(plugin.cls() for plugin in plugins if issubclass(plugin.cls, CustomObjective))


def custom_metrics(plugins: Iterable[Plugin]) -> tuple[RecordMetric, ...]:
    """Instances of the metrics among `plugins`."""
    return tuple(plugin.cls() for plugin in plugins if issubclass(plugin.cls, RecordMetric))


def plugin_hashes(plugins: Iterable[Plugin]) -> dict[str, str]:
    """Spec of each plug-in -> SHA-256 of its file; without those that have no file."""
    return {plugin.spec: digest for plugin in plugins if (digest := plugin.sha256)}


def _load(source: Any, bases: tuple[type, ...]) -> list[Plugin]:
    if isinstance(source, Plugin):
        return [source]
    if isinstance(source, type):
        return [Plugin(_spec_of(source), _check_class(source, source.__qualname__, bases))]
    if not isinstance(source, str | Path):
        raise EffaceError(
            f"plugins: {reprlib.repr(source)} is not a plug-in; give path/to/file.py or package.module, each "
            "optionally followed by :Class, or a class"
        )
    location, name = _split_spec(str(source))
    module = _import_file(Path(location)) if location.endswith(".py") else _import_module(location)
    classes = [_find_class(module, location, name, bases)] if name else _defined_classes(module, location, bases)
    specs = {f"{location}:{each.__qualname__}": each for each in classes}
    return [Plugin(spec, _check_class(each, spec, bases)) for spec, each in specs.items()]


def _spec_of(cls: type) -> str:
    """How a config file names a class that was given as such.

    A file outside any package is named by its path: another process may not find it by its module name.
    """
    module = sys.modules.get(cls.__module__)
    path = None if getattr(module, "__package__", None) else getattr(module, "__file__", None)
    return f"{path or cls.__module__}:{cls.__qualname__}"


def _split_spec(spec: str) -> tuple[str, str | None]:
    """File or module, and the name of the class if there is one."""
    location, colon, name = spec.rpartition(":")
    if not colon or not re.fullmatch(r"[\w.<>]+", name):
        return spec, None  # no class, or the colon of a Windows drive
    if "<locals>" in name or location == "__main__":
        raise EffaceError(
            f"plug-in {spec} is defined inside a function or a notebook, where no other process can import it; move it "
            "to a file and give that file"
        )
    return location, name


def _import_file(path: Path) -> ModuleType:
    """Import a file, again at each call: a notebook's user edits files between two runs."""
    path = expand_home(str(path))
    if not path.is_file():
        raise EffaceError(f"plug-in {path}: there is no such file; paths are relative to the working directory")
    name = f"efface_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None, "a path that ends in .py has a loader"
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        del sys.modules[name]
        raise _import_failure(str(path), path, error) from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise EffaceError(
                f"plug-in {name!r}: no such module is installed; for a file, give path/to/file.py"
            ) from error
        raise _import_failure(name, None, error) from error
    except (Exception, SystemExit) as error:  # the user's code may raise anything, and `name` may not be a name
        raise _import_failure(name, None, error) from error


def _import_failure(name: str, path: Path | None, error: BaseException) -> EffaceError:
    """The error for a plug-in that raised while it was imported, with the line in `path` where it did."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if path is not None and Path(frame.filename) == path.absolute()]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = f", line {line}" if line else ""
    return EffaceError(f"plug-in {name}{where} cannot be imported ({summarize_error(error)}); correct the error there")


def _find_class(module: ModuleType, location: str, name: str, bases: tuple[type, ...]) -> type:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        available = ", ".join(each.__qualname__ for each in _plugin_classes(module, bases)) or "none"
        raise EffaceError(f"plug-in {location}:{name}: there is no such class; plug-in classes there: {available}")
    return found


def _defined_classes(module: ModuleType, location: str, bases: tuple[type, ...]) -> list[type]:
    if found := _plugin_classes(module, bases):
        return found
    raise EffaceError(f"{location} defines no plug-in; derive a class from one of {_names(bases)}")


def _plugin_classes(module: ModuleType, bases: tuple[type, ...]) -> list[type]:
    """The public plug-in classes that a module defines, or that a package imports from its own modules."""
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, bases)
        and not name.startswith("_")
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]


def _check_class(cls: Any, label: str, bases: tuple[type, ...]) -> PluginClass:
    """`cls`, where it can be used. Raises `EffaceError`, which calls it `label`, for any other class."""
    if not issubclass(cls, bases):
        raise EffaceError(f"plug-in {label} is not a plug-in; derive it from one of {_names(bases)}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise EffaceError(f"plug-in {label} does not define the method {', '.join(missing)}; add it")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        given = "has no name" if name is None else f"is called {reprlib.repr(name)}"
        raise EffaceError(
            f"plug-in {label} {given}; give it a name of lower-case letters, digits, - and _, such as "
            f'name = "{cls.__name__.lower()}"'
        )
    if name in (_BUILT_IN_SCORES if issubclass(cls, RecordMetric) else _BUILT_IN_OBJECTIVES):
        raise EffaceError(f"plug-in {label} is called {name!r}, the name of a built-in; give it another name")
    try:
        cls()
    except Exception as error:  # the user's code may raise anything
        raise EffaceError(
            f"plug-in {label} cannot be instantiated ({summarize_error(error)}); its __init__ must take no arguments"
        ) from error
    return cast(PluginClass, cls)


def _names(bases: tuple[type, ...]) -> str:
    return ", ".join(f"efface.{base.__name__}" for base in bases)


def _check_unique_names(plugins: Iterable[Plugin]) -> None:
    first: dict[tuple[bool, str], Plugin] = {}
    for plugin in plugins:
        same_name = first.setdefault((issubclass(plugin.cls, RecordMetric), plugin.cls.name), plugin)
        if same_name is not plugin:
            raise EffaceError(
                f"plug-ins {same_name.spec} and {plugin.spec} are both called {plugin.cls.name!r}; rename one"
            )
