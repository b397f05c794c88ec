# 13. Constrain Query Candidates By ID
collection.query(
    query_texts=["climate"],
    ids=["doc-1", "doc-2", "doc-3"],
)
