"""What is wrong with Chroma's embedded client is right here: a test for each known fault.

The numbers are those of the list of faults that was drawn up from Chroma 1.5.9. Not tested here:

     9  CloudClient sends a key that is the text "None"      a matter of the HTTP client
    25  no $regex, $exists, $not on metadata; no order of    kept: filters mean the same in both
        strings; $and and $or need two parts
    28  HTTP clients leak sockets and have no timeout        a matter of the HTTP client
    30  names with "/" over HTTP; the server's version       a matter of the HTTP client
    31  names and validation of functions that we lack       nothing to test
    32  evaluation of searches; sparse vectors               tested with the search engine
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import vermilion
from doors import Lengths, empty, filled, load
from vermilion import AdminClient, DefaultEmbeddingFunction, PersistentClient, Settings
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.api.servers import RemoteClient
from vermilion.configuration import PARAMETERS
from vermilion.errors import (
    AlreadyExistsError,
    ArgumentValueError,
    BatchTooLargeError,
    ClosedError,
    DimensionError,
    InternalError,
    InvalidDimensionException,
    NotFoundError,
    UniqueConstraintError,
)
from words import WordLengths


def numbered(client: Client, count: int) -> list[str]:
    """A collection of so many records, each with its number as vector and metadata; its ids."""
    ids = [f"id{i}" for i in range(count)]
    vectors = np.arange(count, dtype=np.float32)[:, np.newaxis]
    empty(client).add(ids=ids, embeddings=vectors, metadatas=[{"n": i} for i in range(count)])
    return ids


# ── 1 to 8 ───────────────────────────────────────────────────────────────────────────────────────


def test_01_more_records_than_sql_has_variables_are_read_at_once(client: Client) -> None:
    ids = numbered(client, 33_000)
    notes = client.get_collection("notes")
    metadatas = notes.get()["metadatas"]
    assert metadatas is not None
    assert metadatas[-1] == {"n": 32_999}
    assert notes.get(ids=ids)["ids"] == ids
    assert notes.get(where={"n": {"$in": list(range(33_000))}})["ids"] == ids
    assert notes.query([[0.0]], n_results=33_000)["ids"] == [ids]


@pytest.mark.parametrize("name", PARAMETERS)
def test_02_numbers_that_no_index_can_have_are_refused(client: Client, name: str) -> None:
    row = PARAMETERS[name]
    for number in (row.low - 1, row.high + 1):
        with pytest.raises(ArgumentValueError, match=f"configuration.hnsw.{name}: invalid value"):
            empty(client, configuration={"hnsw": {name: row.kind(number)}})
    assert client.count_collections() == 0
    made = empty(client, configuration={"hnsw": {name: row.kind(row.low)}})
    assert made.configuration_json["hnsw"].get(name) == (row.low if row.returned else None)


def test_02_the_smallest_graph_finds_every_record(client: Client) -> None:
    notes = empty(client, configuration={"hnsw": {"max_neighbors": 2}})
    notes.add(ids=[f"id{i}" for i in range(300)], embeddings=np.eye(300))
    assert len(notes.query([[0.0] * 300], n_results=300)["ids"][0]) == 300


def test_03_lists_may_be_metadata_of_a_collection(client: Client) -> None:
    empty(client, metadata={"tags": ["a", "b"]}).modify(metadata={"years": [1999, 2000]})
    assert client.get_collection("notes").metadata == {"years": [1999, 2000]}


def test_04_a_query_leaves_unknown_ids_aside_with_a_filter_and_without(client: Client) -> None:
    notes = filled(client)
    for where in (None, {"n": 2}):
        found = notes.query([[0.0, 0.0]], ids=["gone", "b"], where=where)
        assert found["ids"] == [["b"]]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"n": 2.5}, []),
        ({"n": 2.0}, ["b"]),
        ({"n": {"$gte": 2.5}}, ["c"]),
        ({"n": {"$lt": 2.5}}, ["a", "b"]),
        ({"n": {"$ne": 2.5}}, ["a", "b", "c", "d"]),
        ({"n": {"$nin": [2.5]}}, ["a", "b", "c", "d"]),
        ({"x": {"$gt": 2}}, ["b"]),
    ],
    ids=str,
)
def test_05_ints_and_floats_are_compared_as_numbers(
    client: Client, where: dict[str, Any], ids: list[str]
) -> None:
    assert filled(client).get(where=where)["ids"] == ids


def test_06_a_function_that_does_not_fit_is_refused_before_it_is_stored(client: Client) -> None:
    notes = empty(client, embedding_function=WordLengths())
    before = notes.configuration_json
    with pytest.raises(ValueError, match="incompatible types"):
        notes.modify(configuration={"embedding_function": DefaultEmbeddingFunction()})
    assert notes.configuration_json == before
    assert client.get_collection("notes").configuration_json == before


def test_07_delete_tells_how_many_records_are_gone(client: Client) -> None:
    notes = filled(client)
    assert notes.delete(ids=["a", "gone"]) == {"deleted": 1}
    assert notes.delete(ids=["a"]) == {"deleted": 0}


@pytest.mark.parametrize("configuration", [None, {"hnsw": {"ef_search": 50}}], ids=["bare", "hnsw"])
def test_08_no_embedding_function_means_none(client: Client, configuration: Any) -> None:
    notes = empty(client, embedding_function=None, configuration=configuration)
    with pytest.raises(ValueError, match="You must provide an embedding function"):
        notes.add(ids=["a"], documents=["text"])


# ── 10 to 19 ─────────────────────────────────────────────────────────────────────────────────────


def test_10_metadata_are_stored_whole_or_refused(client: Client) -> None:
    notes = empty(client)
    with pytest.raises(ValueError, match="finite"):
        notes.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"n": float("nan"), "m": 1}])
    notes.add(
        ids=["a"],
        embeddings=[[1.0]],
        uris=["kept"],
        metadatas=[{"chroma:uri": "other", "chroma:mine": 1, "none": None}],
    )
    stored = notes.get(include=["metadatas", "uris"])
    assert stored["metadatas"] == [{"chroma:uri": "other", "chroma:mine": 1}]
    assert stored["uris"] == ["kept"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e39], ids=str)
def test_11_a_query_for_no_number_is_refused(client: Client, number: float) -> None:
    with pytest.raises(ValueError, match="must not contain NaN or Infinity"):
        filled(client).query(query_embeddings=[[number, 0.0]])


FAULTS: list[tuple[str, Callable[[Client, Collection], object], tuple[type[Exception], ...]]] = [
    ("create", lambda client, notes: empty(client), (UniqueConstraintError, InternalError)),
    (
        "rename",
        lambda client, notes: client.create_collection("other").modify(name="notes"),
        (UniqueConstraintError, InternalError),
    ),
    ("limit", lambda client, notes: notes.get(limit=-1), (ArgumentValueError,)),
    ("no dimension", lambda client, notes: notes.query([[]]), (ArgumentValueError,)),
    ("dimension", lambda client, notes: notes.query([[1.0]]), (InvalidDimensionException,)),
]


@pytest.mark.parametrize(("call", "kinds"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_12_a_fault_has_the_class_that_says_what_it_is(
    client: Client, call: Callable[[Client, Collection], object], kinds: tuple[type[Exception], ...]
) -> None:
    with pytest.raises(kinds) as raised:
        call(client, filled(client))
    assert issubclass(raised.type, kinds[0])
    assert issubclass(raised.type, kinds[-1])


def test_13_a_function_with_a_wrong_signature_creates_nothing(client: Client) -> None:
    class Wrong:
        def __call__(self, texts: Any) -> Any: ...

    with pytest.raises(ValueError, match="to have the following signature"):
        empty(client, embedding_function=Wrong())
    assert client.count_collections() == 0


def test_14_other_metadata_of_a_collection_that_exists_are_not_ignored(client: Client) -> None:
    empty(client, metadata={"a": 1})
    with pytest.warns(UserWarning, match='on_exists="update"'):
        kept = client.get_or_create_collection("notes", metadata={"b": 2})
    assert kept.metadata == {"a": 1}
    updated = client.get_or_create_collection("notes", metadata={"b": 2}, on_exists="update")
    assert updated.metadata == client.get_collection("notes").metadata == {"b": 2}


def test_14_the_same_metadata_are_no_reason_to_warn(client: Client) -> None:
    made = empty(client, metadata={"a": 1})
    assert client.get_or_create_collection("notes", metadata={"a": 1}).id == made.id


@pytest.mark.parametrize(
    "method", ["get_collection", "get_or_create_collection", "create_collection"]
)
def test_14_another_function_is_used_by_this_handle_with_a_warning(
    client: Client, method: str
) -> None:
    empty(client, embedding_function=WordLengths())
    options = {"get_or_create": True} if method == "create_collection" else {}
    with pytest.warns(UserWarning, match="word-lengths; this handle uses Lengths instead"):
        here = getattr(client, method)("notes", embedding_function=Lengths(), **options)
    here.add(ids=["a"], documents=["text"])
    client.get_collection("notes").add(ids=["b"], embeddings=[[1.0, 2.0]])
    assert here.configuration_json["embedding_function"]["name"] == "word-lengths"


def test_15_a_collection_without_records_has_no_dimension(client: Client) -> None:
    notes = empty(client)
    notes.update(ids=["gone"], embeddings=[[1.0, 2.0]])
    notes.add(ids=["a"], embeddings=[[1.0]])
    with pytest.raises(DimensionError):
        notes.add(ids=["b"], embeddings=[[1.0, 2.0]])
    notes.delete(ids=["a"])
    notes.add(ids=["b"], embeddings=[[1.0, 2.0]])
    assert notes.query([[1.0, 2.0]])["distances"] == [[0.0]]


def test_16_old_metadata_fill_what_the_configuration_leaves_open(client: Client) -> None:
    notes = empty(
        client,
        metadata={"hnsw:space": "cosine", "hnsw:search_ef": 70},
        configuration={"hnsw": {"ef_search": 50}},
    )
    hnsw = notes.configuration_json["hnsw"]
    assert (hnsw["space"], hnsw["ef_search"]) == ("cosine", 50)


def test_17_options_that_do_nothing_are_named(client: Client) -> None:
    with pytest.warns(UserWarning, match="search_nprobe have no meaning in this engine"):
        notes = empty(client, configuration={"spann": {"space": "ip", "search_nprobe": 9}})
    assert notes.configuration_json["hnsw"]["space"] == "ip"


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_18_vectors_come_back_bit_for_bit(client: Client, space: str) -> None:
    notes = empty(client, configuration={"hnsw": {"space": space}})
    vectors = np.random.default_rng(18).normal(size=(50, 384))
    notes.add(ids=[f"id{i}" for i in range(50)], embeddings=vectors)
    stored = notes.get(include=["embeddings"])["embeddings"]
    assert stored is not None
    assert stored.dtype == np.float64
    assert (stored == vectors.astype(np.float32)).all()


def test_18_nothing_is_nearer_than_the_same_direction(client: Client) -> None:
    notes = empty(client, configuration={"hnsw": {"space": "cosine"}})
    vectors = np.random.default_rng(18).normal(size=(200, 384))
    notes.add(ids=[f"id{i}" for i in range(200)], embeddings=vectors)
    distances = notes.query(vectors, n_results=1)["distances"]
    assert distances is not None
    assert min(distances) >= [0.0]


def test_19_a_query_finds_all_and_breaks_ties_by_age(client: Client) -> None:
    notes = empty(client)
    ids = [f"id{i}" for i in range(3000)]
    notes.add(ids=ids, embeddings=[[float(i % 3)] for i in range(3000)])
    nearest_first = sorted(ids, key=lambda id: int(id[2:]) % 3)
    assert notes.query([[0.0]], n_results=3000)["ids"] == [nearest_first]


def test_19_metadata_keep_the_order_of_their_keys(client: Client) -> None:
    notes = empty(client)
    keys = [f"key{i * 7 % 20}" for i in range(20)]
    notes.add(ids=["a"], embeddings=[[1.0]], metadatas=[dict.fromkeys(keys, 1)])
    metadatas = notes.get()["metadatas"]
    assert metadatas is not None
    assert metadatas[0] is not None
    assert list(metadatas[0]) == keys


# ── 20 to 26 ─────────────────────────────────────────────────────────────────────────────────────


def test_20_one_directory_is_one_database_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("data")
    with PersistentClient("data") as relative, PersistentClient(tmp_path / "data") as absolute:
        here, there = empty(relative), absolute.get_collection("notes", Lengths())
        here.add(ids=["a"], embeddings=[[1.0]])
        with PersistentClient("link") as linked:
            linked.get_collection("notes").add(ids=["b"], embeddings=[[2.0]])
        assert there.query([[2.0]])["ids"] == [["b", "a"]]


OTHER_PROCESS = """
import sys, vermilion
with vermilion.PersistentClient(sys.argv[1]) as client:
    notes = client.get_collection("notes")
    assert notes.query([[1.0]])["ids"] == [["a"]]
    notes.add(ids=["b"], embeddings=[[2.0]], metadatas=[{"n": 2}])
"""


def test_20_what_another_process_writes_is_seen(tmp_path: Path) -> None:
    with PersistentClient(tmp_path) as client:
        notes = empty(client)
        notes.add(ids=["a"], embeddings=[[1.0]])
        assert notes.query([[2.0]])["ids"] == [["a"]]
        subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(tmp_path)], check=True, timeout=60)
        assert notes.query([[2.0]], where={"n": 2})["ids"] == [["b"]]
        assert notes.get(include=["embeddings"])["ids"] == ["a", "b"]


def test_21_what_the_caller_passes_stays_as_it_is(client: Client) -> None:
    include: Any = ["data"]
    configuration = {"hnsw": {"ef_search": 50}, "embedding_function": Lengths()}
    metadata = {"hnsw:space": "cosine", "none": None}
    given = dict(configuration), dict(metadata)
    notes = empty(client, configuration=configuration, metadata=metadata, data_loader=load)
    ids, cells = ["a"], {"n": 1, "none": None}
    notes.add(ids=ids, embeddings=[[3.0, 4.0]], metadatas=[cells], uris=["u"])
    notes.get(ids=ids, include=include)
    notes.query([[1.0, 0.0]], ids=ids, include=include)
    assert (configuration, metadata) == given
    assert (include, ids, cells) == (["data"], ["a"], {"n": 1, "none": None})


def test_21_settings_stay_as_they_are(tmp_path: Path) -> None:
    settings = Settings(is_persistent=True)
    vermilion.EphemeralClient(settings).close()
    PersistentClient(tmp_path, settings).close()
    assert settings == Settings(is_persistent=True)


def test_22_a_query_gives_only_what_was_asked_for(client: Client) -> None:
    notes = filled(client)
    with pytest.raises(ValueError, match="data loader"):
        notes.query([[1.0, 0.0]], include=["data"])
    found = notes.query([[1.0, 0.0]], include=["distances"])
    given = {name for name, column in found.items() if column is not None}
    assert given == {"ids", "included", "distances"}


def test_23_a_record_without_metadata_has_none(client: Client) -> None:
    notes = empty(client)
    notes.add(
        ids=["a", "b"], embeddings=[[1.0], [2.0]], uris=["u", "v"], metadatas=[None, {"n": 1}]
    )
    notes.update(ids=["b"], metadatas=[{"n": None}])
    assert notes.get()["metadatas"] == [None, None]


@pytest.mark.parametrize(
    "where",
    [{"#foo": 1}, {"#document": "one fish"}, {"$and": [{"n": 1}, {"#embedding": 1}]}],
    ids=str,
)
def test_24_a_filter_on_what_cannot_be_filtered_deletes_nothing(client: Client, where: Any) -> None:
    notes = filled(client)
    with pytest.raises(ValueError, match="Cannot filter using metadata key"):
        notes.delete(where=where)
    assert notes.count() == 4


def test_26_metadata_alone_are_enough_for_records_that_exist(client: Client) -> None:
    notes = filled(client)
    notes.upsert(ids=["a", "d"], metadatas=[{"n": 9}, {"n": 8}])
    assert notes.get(where={"n": {"$gte": 8}})["ids"] == ["a", "d"]
    assert notes.query([[1.0, 0.0]], n_results=1)["distances"] == [[0.0]]


def test_26_upsert_loads_uris(client: Client) -> None:
    notes = empty(client, data_loader=load)
    notes.upsert(ids=["a"], uris=["abc"])
    assert notes.query([[5.0, 1.0]])["distances"] == [[0.0]]


def test_26_update_loads_uris_where_there_is_a_loader(client: Client) -> None:
    notes = empty(client, data_loader=load)
    notes.add(ids=["a"], uris=["abc"])
    notes.update(ids=["a"], uris=["abcdef"])
    assert notes.query([[8.0, 1.0]], include=["distances", "uris"])["uris"] == [["abcdef"]]
    assert notes.query([[8.0, 1.0]])["distances"] == [[0.0]]


def test_26_update_only_notes_uris_where_there_is_no_loader(client: Client) -> None:
    notes = empty(client)
    notes.add(ids=["a"], embeddings=[[1.0, 1.0]], uris=["u"])
    notes.update(ids=["a"], uris=["v"])
    assert notes.get(include=["uris"])["uris"] == ["v"]
    assert notes.query([[1.0, 1.0]])["distances"] == [[0.0]]


@pytest.mark.parametrize("change", ["update", "upsert"])
def test_26_a_document_and_a_uri_can_be_cleared(client: Client, change: str) -> None:
    notes = empty(client)
    notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["x", "y"], uris=["u", "v"])
    getattr(notes, change)(ids=["a"], clear=["documents", "uris"])
    found = notes.get(include=["documents", "uris", "embeddings"])
    assert (found["documents"], found["uris"]) == ([None, "y"], [None, "v"])
    assert np.array_equal(found["embeddings"], [[1.0], [2.0]])
    assert notes.get(where_document={"$contains": "x"})["ids"] == []


@pytest.mark.parametrize("change", ["update", "upsert"])
def test_26_metadata_can_be_replaced_as_a_whole(client: Client, change: str) -> None:
    notes = filled(client)
    getattr(notes, change)(ids=["a", "b"], metadatas=[{"new": 1}, None], clear=["metadatas"])
    assert notes.get(ids=["a", "b"])["metadatas"] == [{"new": 1}, None]
    assert notes.get(where={"new": 1})["ids"] == ["a"]


@pytest.mark.parametrize("clear", ["documents", ["embeddings"], ["ids"], 1], ids=str)
def test_26_only_columns_that_may_be_empty_can_be_cleared(client: Client, clear: Any) -> None:
    notes = filled(client)
    before = notes.get()
    with pytest.raises((TypeError, ValueError), match=r"Expected clear .* in update\."):
        notes.update(ids=["a"], documents=["new"], clear=clear)
    assert notes.get() == before


# ── 27 to 34 ─────────────────────────────────────────────────────────────────────────────────────


def test_27_a_function_is_rebuilt_once_and_only_when_it_is_needed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(client, embedding_function=WordLengths())
    built: list[WordLengths] = []

    def build(config: dict[str, Any]) -> WordLengths:
        built.append(WordLengths())
        return built[-1]

    monkeypatch.setattr(WordLengths, "build_from_config", staticmethod(build))
    notes = client.get_collection("notes")
    notes.add(ids=["a"], embeddings=[[1.0, 2.0, 3.0, 4.0]])
    notes.update(ids=["a"], metadatas=[{"n": 1}])
    assert not built
    notes.add(ids=["b"], documents=["one two three four"])
    notes.query(query_texts=["one"])
    assert len(built) == 1


def test_28_a_closed_client_says_so(client: Client) -> None:
    notes = filled(client)
    client.close()
    client.close()
    calls: list[Callable[[], object]] = [
        client.heartbeat,
        client.list_collections,
        lambda: client.get_collection("notes"),
        notes.count,
        notes.get,
        lambda: notes.add(ids=["z"], embeddings=[[1.0, 2.0]]),
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="This client was closed"):
            call()


def test_28_clients_with_other_settings_share_what_is_in_memory(client: Client) -> None:
    with vermilion.EphemeralClient(Settings()) as one, vermilion.EphemeralClient() as two:
        empty(one)
        assert two.get_collection("notes").count() == 0


COLLECTED_WHILE_OPENING = """
import gc, sys, vermilion
from vermilion.api import sharing

lost = vermilion.PersistentClient(sys.argv[1])
lost.itself = lost
del lost  # nobody but the garbage collector finds it now
open_engine = sharing._local_engine

def collect_and_open(*arguments):
    gc.collect()
    return open_engine(*arguments)

sharing._local_engine = collect_and_open
vermilion.PersistentClient(sys.argv[2]).close()
"""


def test_28_a_client_may_be_collected_while_another_is_opened(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COLLECTED_WHILE_OPENING, tmp_path / "one", tmp_path / "two"]
    subprocess.run(command, check=True, timeout=20)


@pytest.mark.parametrize("door", ["memory", "disk"])
def test_28_a_client_that_was_cut_off_closes_no_other(tmp_path: Path, door: str) -> None:
    def opened() -> Client:
        return vermilion.EphemeralClient() if door == "memory" else PersistentClient(tmp_path)

    before = opened()
    Client.clear_system_cache()
    with opened() as after:
        before.close()
        assert after.list_collections() == []


def test_28_an_admin_client_can_be_closed(tmp_path: Path) -> None:
    with AdminClient(Settings(is_persistent=True, persist_directory=str(tmp_path))) as admin:
        admin.create_tenant("acme")
    with pytest.raises(ClosedError):
        admin.get_tenant("acme")


def test_29_a_directory_has_a_name() -> None:
    with pytest.raises(ArgumentValueError, match="got an empty string"):
        PersistentClient("")


def test_29_settings_come_from_the_environment_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("ALLOW_RESET=TRUE\nPERSIST_DIRECTORY=elsewhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALLOW_RESET", raising=False)
    assert not Settings().allow_reset
    assert Settings().persist_directory == "./chroma"
    monkeypatch.setenv("ALLOW_RESET", "TRUE")
    assert Settings().allow_reset


def test_29_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.warns(UserWarning, match="Unknown settings have no effect: alow_reset"):
        Settings(alow_reset=True)


def test_30_a_database_has_a_tenant_a_proper_name_and_an_id(tmp_path: Path) -> None:
    with AdminClient(Settings(is_persistent=True, persist_directory=str(tmp_path))) as admin:
        with pytest.raises(NotFoundError, match="nobody"):
            admin.create_database("work", "nobody")
        with pytest.raises(ArgumentValueError, match="two consecutive periods"):
            admin.create_database("a..b")
        admin.create_database("work")
        assert isinstance(admin.get_database("work")["id"], UUID)
        with pytest.raises(AlreadyExistsError):
            admin.create_database("work")


def test_31_a_collection_is_equal_to_itself(client: Client) -> None:
    made = client.create_collection("notes")
    assert made == made
    assert made == client.get_collection("notes")
    assert made != client.create_collection("other")
    assert DefaultEmbeddingFunction() == DefaultEmbeddingFunction()


def test_33_a_batch_may_be_larger_than_the_client_says(client: Client) -> None:
    count = client.get_max_batch_size() + 1
    if isinstance(client, RemoteClient):  # a server's limit is one
        with pytest.raises(BatchTooLargeError, match=f"size {count} exceeds maximum batch size"):
            numbered(client, count)
        return
    numbered(client, count)
    assert client.get_collection("notes").count() == count


def test_34_text_is_searched_beyond_a_nul(client: Client) -> None:
    notes = empty(client)
    notes.add(ids=["a", "b"], documents=["one\0two", "one"])
    assert notes.get(where_document={"$contains": "two"})["ids"] == ["a"]
    assert notes.get(where_document={"$regex": "t.o$"})["ids"] == ["a"]
    assert notes.get()["documents"] == ["one\0two", "one"]


@pytest.mark.parametrize("column", ["ids", "documents", "uris"])
def test_34_half_a_surrogate_pair_is_refused(client: Client, column: str) -> None:
    columns: dict[str, Any] = {"ids": ["a"], "embeddings": [[1.0]], column: ["x\ud800"]}
    with pytest.raises(ValueError, match="lone surrogate at position 1"):
        empty(client).add(**columns)
