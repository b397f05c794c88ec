"""How good is a search? Three ways measured on one collection, and a judge of one's own.

Run it: python examples/quality.py
"""

import vermilion

RECIPES = {
    "soup": "Leek and potato soup: simmer leeks, potatoes and stock, then blend.",
    "bread": "Sourdough bread: mix flour, water and starter, let it rise overnight, bake hot.",
    "cake": "Carrot cake with walnuts and a cream cheese frosting.",
    "salad": "Summer salad of tomatoes, basil and mozzarella.",
    "curry": "Red lentil curry with coconut milk, ready in half an hour.",
}
# What a query should find; a dict tells grades.
JUDGEMENTS = {
    "quick dinner without meat": {"curry": 2, "soup": 1, "salad": 1},
    "something sweet": "cake",
    "sourdough": "bread",
}


def judge(text: str, documents: list[str]) -> list[float]:
    """Scores by shared words; a cross-encoder goes here."""
    wanted = set(text.lower().split())
    return [len(wanted & set(document.lower().split())) for document in documents]


client = vermilion.EphemeralClient()
recipes = client.get_or_create_collection("recipes")
recipes.upsert(ids=list(RECIPES), documents=list(RECIPES.values()))


def reranked(texts: list[str]) -> vermilion.QueryResult:
    """The five nearest in the judge's order."""
    return recipes.query(query_texts=texts, n_results=5).rerank(judge)


print(
    recipes.evaluate(
        list(JUDGEMENTS),
        JUDGEMENTS,
        {"dense": "dense", "keyword": "keyword", "hybrid": "hybrid", "reranked": reranked},
        k=3,
    )
)
for hit in recipes.query(query_texts=["something sweet"], n_results=2).hits[0]:
    print(hit.id, round(hit.distance, 2), hit.document)
