"""The part of a collection that measures how good its answers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from vermilion.api.answers import QueryResult
from vermilion.api.embedder import Embedder
from vermilion.api.searching import naming
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.records import as_list, check_n_results, document_column
from vermilion.types import Mode

if TYPE_CHECKING:
    from vermilion.api.evaluation import Evaluation, Grades

# What answers the queries: a mode of `query`, keyword arguments of `query`, or a function of the
# texts that returns an answer, or for each text its ids, best first.
Setup = str | Mapping[str, Any] | Callable[[list[str]], Any]
Setups = Setup | Sequence[Setup] | Mapping[str, Setup]
# One request asks for no more, so that a server with a limit takes it.
PAGE = 100


class Evaluating:
    """What `Collection` inherits."""

    _embedder: Embedder
    query: Callable[..., QueryResult]

    def evaluate(
        self,
        queries: str | Sequence[str],
        relevant: Sequence[str | Sequence[str] | Grades] | Mapping[str, Any],
        setups: Setups | None = None,
        *,
        k: int = 10,
    ) -> Evaluation:
        """Returns recall@k, nDCG@k and MRR@k of one way to search, or compares several.

        `relevant` has for each query the id it should find, several ids, or a dict of ids and
        grades, in a list as long as the queries or in a dict by query. `setups` are modes, dicts
        of arguments of `query`, or functions, which take the list of texts and return an answer or
        lists of ids; a dict gives them names. Without any, the modes that the collection has are
        compared. See `vermilion.api.evaluation` for the formulas.

            notes.evaluate(["a storm"], ["id 3"], {"dense": "dense", "own": my_search}, k=5)
        """
        from vermilion.api.evaluation import Evaluation, check_judgements, quality  # few need them

        with naming("evaluate"):
            texts = document_column(as_list(queries), optional=False)
            if texts is None:
                raise ArgumentValueError("queries must be a text or a list of texts")
            asked = [str(text) for text in texts]
            judgements, count = check_judgements(asked, relevant), check_n_results(k)
            named = _named(self._usual() if setups is None else setups)
        qualities = [
            quality(name, self._rankings(setup, asked, count), judgements, count)
            for name, setup in named.items()
        ]
        return Evaluation(tuple(asked), tuple(qualities))

    def _usual(self) -> Setups:
        return ("keyword", "dense", "hybrid") if self._embedder.has_function else "keyword"

    def _rankings(self, setup: Setup, texts: list[str], k: int) -> list[list[str]]:
        if callable(setup):
            return _checked(setup(texts), len(texts))
        options = {"mode": setup} if isinstance(setup, str) else dict(setup)
        found: list[list[str]] = []
        for start in range(0, len(texts), PAGE):
            page = texts[start : start + PAGE]
            found += self.query(query_texts=page, n_results=k, include=[], **options)["ids"]
        return found


def _named(setups: Any) -> dict[str, Setup]:
    """The set-ups by name. A dict whose values are set-ups gives names, any other is one."""
    if isinstance(setups, str) or callable(setups):
        setups = [setups]
    if isinstance(setups, Mapping):
        named = dict(setups)
    elif isinstance(setups, Sequence):
        named = {}
        for setup in setups:
            name = _name(setup)
            if name in named:
                raise ArgumentValueError(f"Two set-ups are called {name!r}: give a dict of names")
            named[name] = setup
    else:
        raise ArgumentTypeError(f"Expected setups to be set-ups by name, or a list, got {setups!r}")
    if not named:
        raise ArgumentValueError("Expected at least one set-up, got none")
    for name, setup in named.items():
        _check(name, setup)
    return named


def _name(setup: Any) -> str:
    if isinstance(setup, str):
        return setup
    if isinstance(setup, Mapping):
        return ", ".join(f"{name}={value!r}" for name, value in setup.items())
    return str(getattr(setup, "__name__", setup))


_MODES = get_args(Mode)
# What `evaluate` itself gives to `query`.
_ITS_OWN = ("query_texts", "query_embeddings", "query_images", "query_uris", "n_results", "include")


def _check(name: object, setup: object) -> None:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"Expected the name of a set-up to be str, got {name!r}")
    if isinstance(setup, str) and setup not in _MODES:
        raise ArgumentValueError(
            f"Expected the set-up {name!r} to be one of {', '.join(_MODES)}, got {setup!r}"
        )
    if isinstance(setup, Mapping):
        if wrong := [option for option in setup if option in _ITS_OWN]:
            raise ArgumentValueError(
                f"The set-up {name!r} cannot give {wrong[0]!r}: evaluate does; a function can"
            )
    elif not isinstance(setup, str) and not callable(setup):
        raise ArgumentTypeError(
            f"Expected the set-up {name!r} to be a mode, a dict of arguments of query, or a "
            f"function, got {setup!r}"
        )


def _checked(answer: Any, count: int) -> list[list[str]]:
    rankings = answer["ids"] if isinstance(answer, dict) else answer
    if not isinstance(rankings, Sequence) or isinstance(rankings, str):
        raise ArgumentTypeError(
            f"Expected an answer or a list of ids for each text from a set-up, got {answer!r}"
        )
    if len(rankings) != count:
        raise ArgumentValueError(
            f"Expected {count} lists of ids from a set-up, got {len(rankings)}"
        )
    return [list(ranking) for ranking in rankings]
