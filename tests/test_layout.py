"""The reading order: a module may import only what stands above it, so there can be no cycle.

The list is also the tour of the README. Imports inside functions and under TYPE_CHECKING count.
"""

import ast
from pathlib import Path

import pytest

import vermilion

ROOT = Path(vermilion.__file__).parent

WORDS = """
    errors offline places progress logs forks bridge auth_types types reports times
    query.operators query.operands query.where metadata records names lifetimes configuration
    query.predicates query.keys query.ranks query.search
    schema.config schema.types schema.builder schema.rules
    query.plans engine gathering switching version
    wire.text wire.fields wire.operation wire.vectors wire.metadata wire.rows
    wire.schemas wire.settings wire.system wire.collections wire.records wire.bulk wire.care
    wire.ranked wire.past wire.absent wire.faults wire.table wire.openapi
"""
LOCAL = """
    local.lock local.blocks local.read_only local.wal local.image local.sqlite local.rows
    local.snapshot local.transaction local.store local.history local.lives
    local.index.base local.index.slots local.index.vectors local.index.columns
    local.index.processor local.index.sealed_vectors local.index.levels local.index.signs
    local.index.graph
    local.index.sealed_columns local.index.joining local.index.literals local.index.text
    local.index.postings local.index.sparse local.index.words
    local.segment local.compactor local.builder local.grapher local.eraser
    local.segment_checker local.checker
    local.filter_cache local.indexer local.matches local.search local.planner local.bulk
    local.explain local.weighing local.ranking local.values
    local.lasting local.making local.drafts local.copier local.catalogue local.collection
    local.folders local.handles
    local.pieces local.backup local.bundle local.keeping local.tending
    local.engine local.salvage
"""
REMOTE = (
    "remote.target remote.connections remote.transport remote.refusals remote.asking remote.engine"
)
EMBEDDINGS = """
    embeddings.base embeddings.cache embeddings.wordpiece
    embeddings.minilm_networks embeddings.minilm_sources embeddings.minilm
    embeddings.models embeddings.default
    embeddings.sparse embeddings.bm25
    embeddings.transport embeddings.shapes embeddings.provider embeddings.trust embeddings.hosted
    embeddings.google embeddings.openai_like embeddings.providers
    embeddings.installed embeddings.sparse_models embeddings.lookup
"""
MIGRATION = """
    migration.pickles migration.pages migration.recovery migration.hnsw
    migration.chroma_sqlite migration.chroma_catalogue migration.chroma_queue
    migration.chroma_dir migration.places migration.moving
    migration.chroma_writer migration.command
"""
SERVER = """
    server.settings server.refusals server.tokens server.exchange server.observing server.guard
    server.limits server.docs_page server.pages server.cors server.gathering server.app
    server.protocol server.serving
    server.command
"""
DOORS = """
    api.settings api.sharing
    api.made_ids api.row_sources api.embedder api.sparse_embedder api.following api.hits
    api.reranking api.frames api.answers api.results api.queries api.schemas api.searching
    api.evaluation api.evaluating api.writing api.iterating api.row_writing api.syncing
    api.copying api.reembedding api.remembering api.facts
    api.collection api.backups api.client api.servers api.admin api.aio
    compat.data_loaders compat.batches compat.functions utils.embedding_functions
    compat.distance_functions compat.system compat.types compat.configuration compat.paths
    commands.demo commands.maintenance commands.models
"""
PIPES = """
    pipes.uri pipes.lines pipes.headers pipes.window pipes.chroma pipes.places
    pipes.files pipes.tables pipes.inputs
    pipes.options pipes.functions pipes.batches pipes.writer pipes.to_chroma pipes.export pipes.load
    pipes.steps pipes.templates pipes.identify pipes.chunk pipes.meta pipes.clean pipes.embed
    pipes.web pipes.documents pipes.datasets pipes.copying pipes.command pipes.completion
"""
TOP = "cli __init__ __main__"
READING_ORDER = (
    f"{WORDS} {LOCAL} {REMOTE} {EMBEDDINGS} {MIGRATION} {SERVER} {DOORS} {PIPES} {TOP}"
).split()
# Families do not know each other.
FAMILIES = ("local", "remote", "embeddings")
# From outside a family only these of it are imported; the rest is its own business.
FACES = {
    "local.engine",
    "local.salvage",
    "local.backup",
    "local.index.base",
    "remote.engine",
    "remote.target",
    "remote.transport",
    "embeddings.base",
    "embeddings.cache",
    "embeddings.default",
    "embeddings.openai_like",
    "embeddings.providers",
    "embeddings.google",
    "embeddings.installed",
    "embeddings.lookup",
    "embeddings.models",
    "embeddings.sparse",
    "embeddings.bm25",
    "embeddings.sparse_models",
}


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name != "__init__" and name.endswith("__init__"):
            assert path.read_text(encoding="utf-8").startswith('"""See '), f"{name} holds code"
            continue
        found[name] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Which of our modules this one imports, anywhere in its text."""
    out = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            out |= {one for one in whole if one.removeprefix("vermilion.") in MODULES} or {
                str(node.module)
            }
    ours = {one for one in out if one == "vermilion" or one.startswith("vermilion.")}
    return {one.removeprefix("vermilion").lstrip(".") or "__init__" for one in ours}


def family(name: str) -> str | None:
    first = name.split(".")[0]
    return first if first in FAMILIES else None


def test_every_module_has_its_place_in_the_reading_order() -> None:
    assert sorted(READING_ORDER) == sorted(MODULES)


@pytest.mark.parametrize("name", READING_ORDER)
def test_a_module_imports_only_what_stands_above_it(name: str) -> None:
    above = READING_ORDER[: READING_ORDER.index(name)]
    assert sorted(imports(name) - set(above)) == []


@pytest.mark.parametrize("name", READING_ORDER)
def test_families_do_not_import_each_other(name: str) -> None:
    if family(name):
        others = {one for one in imports(name) if family(one) not in (None, family(name))}
        assert others == set()


@pytest.mark.parametrize("name", READING_ORDER)
def test_a_family_is_entered_by_its_face(name: str) -> None:
    entered = {one for one in imports(name) if family(one) and family(one) != family(name)}
    assert entered <= FACES


@pytest.mark.parametrize("name", sorted(set(READING_ORDER) - {"__main__", "cli", "commands.demo"}))
def test_nobody_inside_comes_in_by_the_front_door(name: str) -> None:
    assert "__init__" not in imports(name)


@pytest.mark.parametrize("name", [one for one in READING_ORDER if one.startswith("server.")])
def test_a_server_makes_no_function_that_a_client_names(name: str) -> None:
    assert not {one for one in imports(name) if one.startswith("embeddings")}


def test_files_stay_readable() -> None:
    long = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: lines for name, lines in long.items() if lines > 500} == {}
