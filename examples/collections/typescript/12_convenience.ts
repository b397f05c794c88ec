// 12. Convenience Methods
// The client cannot do without the argument.

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();
const collection = await client.getOrCreateCollection({ name: "test" });
await collection.add({
    ids: ["1", "2"],
    documents: ["hello world", "hello chroma"],
});

// peek at the first N items in the collection (default 10)
// page: await collection.peek();
await collection.peek({}); // ours
await collection.peek({ limit: 5 });

// count the number of items in the collection
await collection.count();
// Until here.
export { collection };
