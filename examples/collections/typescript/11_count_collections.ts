// 11. Counting Collections

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();
const count = await client.countCollections();
// Until here.
export { count };
