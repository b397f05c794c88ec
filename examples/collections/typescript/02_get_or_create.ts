// 2. Creating a collection if it does not exist

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();
const collection = await client.getOrCreateCollection({
    name: "test",
    metadata: { key: "value" },
});
// Until here.
export { collection };
