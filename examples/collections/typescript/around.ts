// What two of the page's blocks presume: a variable `collection`.

import { ChromaClient } from "chromadb";
import type { Collection } from "chromadb";

export async function fourRecords(): Promise<Collection> {
    const collection = await new ChromaClient().createCollection({ name: "around" });
    await collection.add({
        ids: ["doc-1", "doc-2", "doc-3", "doc-4"],
        documents: [
            "a recipe for apple pie",
            "the weather of the coming century",
            "how to repair a bicycle",
            "climate change and the climate",
        ],
        metadatas: [{ page: 1 }, { page: 2 }, { page: 3 }, { page: 4 }],
    });
    return collection;
}
