"""Answers as data frames."""

from doors import filled
from vermilion.api.client import Client
from vermilion.api.frames import get_result_to_df, query_result_to_dfs


def test_a_get_is_a_frame_by_id(client: Client) -> None:
    frame = get_result_to_df(filled(client).get(ids=["a", "b"]))
    assert frame.index.name == "id"
    assert list(frame.index) == ["a", "b"]
    assert list(frame.columns) == ["document", "metadata"]
    assert frame.loc["a", "document"] == "one fish"


def test_every_column_that_was_asked_for_is_there(client: Client) -> None:
    notes = filled(client)
    everything = notes.get(include=["embeddings", "uris", "metadatas", "documents"])
    frame = get_result_to_df(everything)
    assert list(frame.columns) == ["embedding", "document", "uri", "metadata"]
    assert list(frame.loc["a", "embedding"]) == [1.0, 0.0]


def test_each_query_is_a_frame(client: Client) -> None:
    found = filled(client).query([[1.0, 0.0], [0.0, 1.0]], n_results=2)
    frames = query_result_to_dfs(found)
    assert [list(frame.index) for frame in frames] == found["ids"]
    assert [list(frame["distance"]) for frame in frames] == found["distances"]
    assert list(frames[0].columns) == ["document", "metadata", "distance"]


def test_nothing_found_is_an_empty_frame(client: Client) -> None:
    frame = get_result_to_df(filled(client).get(ids=["unknown"]))
    assert len(frame) == 0
    assert list(frame.columns) == ["document", "metadata"]
