"""Topic labels for sentences, by rule: a lexicon for general prose, and the folder a docstring lies in for code.

A sentence gets a topic where at least two of the topic's words occur in it and no other topic has two. That is
weak supervision, and its purpose is the *form* of zero-shot classification; what the words mean the encoder knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from research.relations.corpus import Corpus
from research.relations.docs import prose_sentences

_LEXICON = Path(__file__).with_suffix(".txt")

# Sub-package → what it is about. The folder is the label's structure; the phrase is this project's.
_FOLDERS = {
    "scipy.stats": ("statistics", "probability distributions"),
    "scipy.linalg": ("linear algebra", "matrices"),
    "scipy.optimize": ("numerical optimisation",),
    "scipy.signal": ("signal processing",),
    "scipy.spatial": ("geometry",),
    "scipy.sparse": ("sparse matrices",),
    "sklearn.cluster": ("clustering", "machine learning"),
    "sklearn.metrics": ("evaluating models", "metrics"),
    "sklearn.linear_model": ("regression", "machine learning"),
    "sklearn.ensemble": ("decision trees", "machine learning"),
    "sklearn.feature_extraction": ("text processing",),
    "cryptography": ("cryptography", "security"),
    "urllib3": ("HTTP requests", "networking"),
    "pip": ("installing packages",),
    "packaging": ("version numbers", "packaging"),
    "rich": ("terminal output", "the command line"),
    "psutil": ("system monitoring", "processes"),
    "torch.optim": ("training neural networks", "optimisation"),
    "torch.nn": ("neural networks", "deep learning"),
    "torch.distributed": ("distributed computing",),
    "opentelemetry": ("monitoring", "observability"),
    "sympy.geometry": ("geometry",),
    "sympy.ntheory": ("number theory",),
    "sympy.physics": ("physics",),
    "sympy.polys": ("polynomials", "algebra"),
    "ray.serve": ("serving models", "deployment"),
    "ray.data": ("data processing",),
    "yaml": ("configuration files", "file formats"),
    "sortedcontainers": ("data structures",),
    "asyncio": ("asynchronous programming", "concurrency"),
    "email": ("e-mail",),
    "sqlite3": ("databases",),
    "logging": ("logging",),
    "unittest": ("testing software",),
    "multiprocessing": ("processes", "concurrency"),
    "xml": ("parsing XML",),
    "tkinter": ("user interfaces",),
    "pygments": ("syntax highlighting",),
    "numpy.ma": ("missing data", "arrays"),
    "numpy.random": ("random numbers",),
    "numpy.fft": ("Fourier transforms",),
    "huggingface_hub": ("model repositories",),
    "wrapt": ("decorators",),
    "idna": ("domain names",),
}

_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Topical:
    """A text, the names of its topic, and names of topics it is surely not about."""

    text: str
    names: tuple[str, ...]
    others: tuple[str, ...]


def _lexicon() -> dict[tuple[str, ...], frozenset[str]]:
    table = {}
    for line in _LEXICON.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        names, words = line.split("|")
        table[tuple(n.strip() for n in names.split(","))] = frozenset(words.split())
    return table


def lexicon_hits(sentence: str) -> int:
    """How many words of the sentence any topic's lexicon knows."""
    return len(set(_WORD.findall(sentence.lower())) & _all_words())


@cache
def _all_words() -> frozenset[str]:
    return frozenset[str]().union(*_lexicon().values())


def label_sentences(sentences: Iterable[str]) -> Iterator[Topical]:
    """Sentences with exactly one topic. A topic of which a single word occurs is not offered as a wrong one."""
    table = _lexicon()
    for sentence in sentences:
        words = set(_WORD.findall(sentence.lower()))
        hits = {names: len(words & keys) for names, keys in table.items()}
        clear = [names for names, count in hits.items() if count >= 2]
        if len(clear) == 1 and 8 <= len(sentence.split()) <= 45:
            others = tuple(name for names, count in hits.items() if count == 0 for name in names)
            yield Topical(sentence, clear[0], others)


def label_folders(corpus: Corpus) -> Iterator[Topical]:
    """Docstring sentences of modules whose folder is in the table."""
    everything = {name for names in _FOLDERS.values() for name in names}
    for module_name, module in corpus.modules.items():
        names = next((n for folder, n in _FOLDERS.items() if f"{module_name}.".startswith(folder + ".")), None)
        if names is None:
            continue
        others = tuple(sorted(everything - set(names)))
        for definition in module.definitions.values():
            for sentence in prose_sentences(definition.docstring)[:2]:
                if 6 <= len(sentence.split()) <= 40:
                    yield Topical(sentence, names, others)
