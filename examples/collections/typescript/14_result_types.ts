// 14. Result Type Shapes
import type { GetResult, Metadata, QueryResult, QueryRowResult } from "chromadb";
import { fourRecords } from "./around.js";

type Include = "distances" | "documents" | "embeddings" | "metadatas" | "uris";

declare namespace page {

// From the page:
class GetResult<TMeta extends Metadata = Metadata> {
    readonly ids: string[];
    readonly documents: (string | null)[];
    readonly metadatas: (TMeta | null)[];
    readonly embeddings: number[][];
    readonly uris: (string | null)[];
    readonly include: Include[];
    rows(): Array<{
        id: string;
        document?: string | null;
        metadata?: TMeta | null;
        embedding?: number[];
        uri?: string | null;
    }>;
}

class QueryResult<TMeta extends Metadata = Metadata> {
    readonly ids: string[][];
    readonly documents: (string | null)[][];
    readonly metadatas: (TMeta | null)[][];
    readonly embeddings: (number[] | null)[][];
    readonly distances: (number | null)[][];
    readonly uris: (string | null)[][];
    readonly include: Include[];
    rows(): QueryRowResult<TMeta>[][];
}
// Until here.
}

// What the client answers has the shapes of the page, or this does not compile.
const collection = await fourRecords();
const got: GetResult = await collection.get();
const found: QueryResult = await collection.query({ queryTexts: ["climate"] });
export const shapes: [page.GetResult, page.QueryResult] = [got, found];
