// 9. Getting a collection

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();
const collection = await client.getCollection({ name: "test" });
// Until here.
export { collection };
