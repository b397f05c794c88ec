// 1. Creating a collection

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();
const collection = await client.createCollection({ name: "test" });
// Until here.
export { collection };
