// 13. Constrain Query Candidates By ID
import { fourRecords } from "./around.js";

const collection = await fourRecords();

export const found =

// From the page:
await collection.query({
    queryTexts: ["climate"],
    ids: ["doc-1", "doc-2", "doc-3"],
});
// Until here.
