"""nltk's stemmer without nltk: the same stems, and a later import of nltk is complete."""

from __future__ import annotations

import subprocess
import sys

from nltk.stem.porter import PorterStemmer

from efface.scores.metrics.porter_stemmer import porter_stem

ALONE = """
import sys
from efface.scores.metrics.porter_stemmer import porter_stem
stem = porter_stem()
assert stem("quickly") == "quickli"
assert not {"nltk", "nltk.stem", "scipy", "sklearn", "pandas"} & set(sys.modules), "more than the stemmer is loaded"
import nltk
assert nltk.FreqDist(["a"]) and nltk.stem.PorterStemmer().stem("quickly") == "quickli"
"""


def test_it_loads_nothing_else_and_leaves_nltk_as_it_was() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True)


def test_where_nltk_is_loaded_already_it_is_used() -> None:
    before = sys.modules["nltk"]
    stem, reference = porter_stem(), PorterStemmer().stem
    assert all(stem(word) == reference(word) for word in ("running", "flies", "dying", "generously", "skies"))
    assert sys.modules["nltk"] is before
