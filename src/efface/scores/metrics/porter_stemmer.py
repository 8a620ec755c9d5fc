"""nltk's Porter stemmer, loaded without the rest of nltk. No torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec

_PACKAGES = ("nltk", "nltk.stem")


def porter_stem() -> Callable[[str], str]:
    """Load the stemmer of `rouge-score`.

    nltk's `__init__` imports scipy, scikit-learn and pandas, which takes 1.8 s of a processor and 150 MiB; the stemmer
    needs none of them. So its two packages are registered without being executed while its module is imported, and
    removed afterwards: a later `import nltk` is a complete one.

    Returns:
        From a word to its stem, as `nltk.stem.porter.PorterStemmer` in its default mode.
    """
    if "nltk" not in sys.modules:
        try:
            for name in _PACKAGES:
                spec = find_spec(name)
                assert spec is not None  # rouge-score requires nltk
                sys.modules[name] = module_from_spec(spec)
            stemmer = import_module("nltk.stem.porter").PorterStemmer()
        finally:
            for name in [each for each in sys.modules if each.partition(".")[0] == "nltk"]:
                del sys.modules[name]
    else:
        stemmer = import_module("nltk.stem.porter").PorterStemmer()
    stem: Callable[[str], str] = stemmer.stem
    return stem
