// 7. Deleting a collection

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();
await client.deleteCollection({ name: "test" });
// Until here.
