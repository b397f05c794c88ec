// Everything a program does with a server, through npm's `chromadb`.
//
//     node client.js URL vermilion|chroma [search]
//
// The second argument says which server it talks to: a few answers are better here. The third says
// that it has the Search API.

import assert from "node:assert/strict";

import {
    AdminClient, ChromaClient, ChromaClientError, ChromaNotFoundError, ChromaServerError,
    ChromaUniqueError, K, Knn, Search, registerEmbeddingFunction,
} from "chromadb";
import type { Collection, EmbeddingFunction, Metadata, Where, WhereDocument } from "chromadb";

const [url = "", server = "vermilion", ...more] = process.argv.slice(2);
const ours = server === "vermilion";
const { hostname: host, port: portText } = new URL(url);
const port = Number(portText);
const client = new ChromaClient({ host, port });

// Nearest to [0, 1, 0] is id-0; the squared distance of id-n is n * n.
const numbers = [0, 1, 2, 3, 4, 5, 6, 7];
const ids = numbers.map((n) => `id-${n}`);
const origin = [0, 1, 0];
const embeddings = numbers.map((n) => [n, 1, 0]);
const documents = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"].map(
    (name) => `the ${name} letter`,
);
const metadatas: Metadata[] = numbers.map((n) => ({
    n, half: n / 2, even: n % 2 === 0, word: n % 2 ? "odd" : "even", tags: [n, 100],
}));
const at = (places: number[]) => places.map((n) => ids[n]);

async function fails(kind: new (...any: any[]) => Error, part: RegExp, call: () => Promise<unknown>) {
    await assert.rejects(call, (error: Error) => {
        assert.ok(error instanceof kind, `${error.name} is no ${kind.name}: ${error.message}`);
        assert.match(error.message, part);
        return true;
    });
}

async function system() {
    for (const left of await client.listCollections()) {
        if (left.name.startsWith("js-")) await client.deleteCollection({ name: left.name });
    }
    assert.ok((await client.heartbeat()) > 1.7e18);
    assert.match(await client.version(), /^\d+\.\d+\.\d+/);
    assert.ok((await client.getMaxBatchSize()) >= 5461);
    assert.equal(await client.supportsBase64Encoding(), true);
    const identity = await client.getUserIdentity();
    assert.equal(identity.tenant, "default_tenant");
    assert.deepEqual(identity.databases, ["default_database"]);
}

async function create(): Promise<Collection> {
    const made = await client.createCollection({
        name: "js-main",
        metadata: { title: "main", year: 2026, share: 0.5, open: true },
        configuration: { hnsw: { space: "l2", ef_construction: 200, max_neighbors: 32 } },
        embeddingFunction: null,
    });
    assert.equal(made.name, "js-main");
    assert.deepEqual(made.metadata, { title: "main", year: 2026, share: 0.5, open: true });
    assert.equal(made.configuration.hnsw?.space, "l2");
    assert.equal(made.configuration.hnsw?.ef_construction, 200);
    assert.equal(made.configuration.hnsw?.max_neighbors, 32);
    assert.equal(await made.count(), 0);
    await fails(ChromaUniqueError, /already exists/, () =>
        client.createCollection({ name: "js-main", embeddingFunction: null }));
    await fails(ChromaClientError, /name/, () =>
        client.createCollection({ name: "a b", embeddingFunction: null }));
    const same = await client.getOrCreateCollection({ name: "js-main", embeddingFunction: null });
    assert.deepEqual([same.id, same.metadata], [made.id, made.metadata]);
    const byId = await client.getCollectionById(made.id);
    assert.equal(byId.name, "js-main");
    return await client.getCollection({ name: "js-main" });
}

async function fill(collection: Collection) {
    await collection.add({ ids, embeddings, documents, metadatas });
    assert.equal(await collection.count(), 8);
    await collection.add({ ids: ["id-0"], embeddings: [[9, 9, 9]], documents: ["another"] });
    const everything = await collection.get({ include: ["documents", "metadatas", "embeddings"] });
    assert.deepEqual(everything.ids, ids);
    assert.deepEqual(everything.documents, documents);
    assert.deepEqual(everything.metadatas, metadatas);
    assert.deepEqual(everything.embeddings, embeddings);
    assert.deepEqual(everything.rows()[3], {
        id: "id-3", document: documents[3], metadata: metadatas[3], embedding: embeddings[3],
        uri: undefined,
    });
    await fails(ChromaClientError, /dimension of 3, got 2/, () =>
        collection.add({ ids: ["x"], embeddings: [[1, 2]] }));
    const some = await collection.get({ ids: ["id-5", "id-1", "nobody"], include: [] });
    assert.deepEqual(some.ids, ["id-1", "id-5"]);
    assert.deepEqual((await collection.peek({ limit: 3 })).ids, ids.slice(0, 3));
}

const wheres: [Where, number[]][] = [
    [{ n: 3 }, [3]],
    [{ n: { $ne: 3 } }, [0, 1, 2, 4, 5, 6, 7]],
    [{ n: { $gt: 5 } }, [6, 7]],
    [{ n: { $gte: 5 } }, [5, 6, 7]],
    [{ half: { $lt: 1.0 } }, [0, 1]],
    [{ half: { $lte: 1.5 } }, [0, 1, 2, 3]],
    [{ even: true }, [0, 2, 4, 6]],
    [{ word: { $in: ["odd", "other"] } }, [1, 3, 5, 7]],
    [{ n: { $nin: [0, 1, 2, 3] } }, [4, 5, 6, 7]],
    [{ tags: { $contains: 4 } } as Where, [4]],
    [{ $and: [{ n: { $gt: 1 } }, { even: true }] }, [2, 4, 6]],
    [{ $or: [{ n: 0 }, { $and: [{ word: "odd" }, { half: { $gt: 3.0 } }] }] }, [0, 7]],
    [{ nothing: "at all" }, []],
];
const whereDocuments: [WhereDocument, number[]][] = [
    [{ $contains: "eta" }, [1, 5, 6, 7]],
    [{ $not_contains: "eta" }, [0, 2, 3, 4]],
    [{ $regex: "the [a-d]" } as WhereDocument, [0, 1, 3]],
    [{ $or: [{ $contains: "gamma" }, { $contains: "delta" }] }, [2, 3]],
];

async function filters(collection: Collection) {
    for (const [where, expected] of wheres) {
        const found = await collection.get({ where, include: [] });
        assert.deepEqual(found.ids, at(expected), JSON.stringify(where));
        const nearest = await collection.query({
            queryEmbeddings: [origin], where, include: ["distances"],
        });
        assert.deepEqual(nearest.ids, [at(expected)], JSON.stringify(where));
        assert.deepEqual(nearest.distances, [expected.map((n) => n * n)]);
    }
    for (const [whereDocument, expected] of whereDocuments) {
        const found = await collection.get({ whereDocument, include: [] });
        assert.deepEqual(found.ids, at(expected), JSON.stringify(whereDocument));
    }
}

async function pages(collection: Collection) {
    const seen: string[][] = [];
    for (let offset = 0; offset < 10; offset += 3) {
        seen.push((await collection.get({ limit: 3, offset })).ids);
    }
    assert.deepEqual(seen, [ids.slice(0, 3), ids.slice(3, 6), ids.slice(6), []]);
}

async function query(collection: Collection) {
    const found = await collection.query({ queryEmbeddings: [origin, [7, 1, 0]], nResults: 2 });
    assert.deepEqual(found.ids, [["id-0", "id-1"], ["id-7", "id-6"]]);
    assert.deepEqual(found.distances, [[0, 1], [0, 1]]);
    assert.deepEqual(found.documents[1], [documents[7], documents[6]]);
    assert.deepEqual(found.metadatas[0], metadatas.slice(0, 2));
    const row = found.rows()[1]?.[1];
    assert.deepEqual([row?.id, row?.document, row?.distance], ["id-6", documents[6], 1]);
    const among = await collection.query({
        queryEmbeddings: [origin], ids: ["id-6", "id-4", "id-5"], include: ["embeddings"],
    });
    assert.deepEqual(among.ids, [["id-4", "id-5", "id-6"]]);
    assert.deepEqual(among.embeddings, [embeddings.slice(4, 7)]);
    const unknown = { queryEmbeddings: [origin], ids: ["nobody", "id-3"] };
    if (ours) assert.deepEqual((await collection.query(unknown)).ids, [["id-3"]]);
    else await fails(ChromaServerError, /finding id/, () => collection.query(unknown));
    await fails(ChromaClientError, /dimension of 3, got 1/, () =>
        collection.query({ queryEmbeddings: [[1]] }));
}

async function change(collection: Collection) {
    await collection.update({
        ids: ["id-0"], embeddings: [origin], documents: ["a new text"], metadatas: [{ n: 100, more: "yes" }],
    });
    const [row] = (await collection.get({ ids: ["id-0"] })).metadatas;
    assert.deepEqual(row, { ...metadatas[0], n: 100, more: "yes" });
    await collection.upsert({
        ids: ["id-1", "id-8"], embeddings: [[1, 1, 1], [8, 1, 0]],
        documents: ["changed", "ünï ☃ 漢字"], metadatas: [{ n: 101 }, { n: 8 }],
    });
    assert.equal(await collection.count(), 9);
    const changed = await collection.get({
        ids: ["id-1", "id-8"], include: ["documents", "metadatas", "embeddings"],
    });
    assert.deepEqual(changed.documents, ["changed", "ünï ☃ 漢字"]);
    assert.deepEqual(changed.metadatas, [{ ...metadatas[1], n: 101 }, { n: 8 }]);
    assert.deepEqual(changed.embeddings, [[1, 1, 1], [8, 1, 0]]);
}

async function modify(collection: Collection): Promise<Collection> {
    await collection.modify({ name: "js-renamed", metadata: { title: "renamed" } });
    await collection.modify({ configuration: { hnsw: { ef_search: 77 } } });
    const renamed = await client.getCollection({ name: "js-renamed" });
    assert.deepEqual([renamed.id, renamed.metadata], [collection.id, { title: "renamed" }]);
    assert.equal(renamed.configuration.hnsw?.ef_search, 77);
    await fails(ChromaNotFoundError, /./, () => client.getCollection({ name: "js-main" }));
    return renamed;
}

async function copy(collection: Collection) {
    const target = await client.createCollection({
        name: "js-copy", configuration: { hnsw: { space: "ip" } }, embeddingFunction: null,
    });
    const include = ["documents", "metadatas", "embeddings"] as const;
    const count = await collection.count();
    for (let offset = 0; offset < count; offset += 4) {
        const batch = await collection.get({ include: [...include], limit: 4, offset });
        await target.add({
            ids: batch.ids,
            documents: batch.documents as string[],
            metadatas: batch.metadatas as Metadata[],
            embeddings: batch.embeddings,
        });
    }
    assert.deepEqual(
        await target.get({ include: [...include] }), await collection.get({ include: [...include] }));
    const nearest = await target.query({ queryEmbeddings: [[1, 0, 0]], nResults: 2 });
    assert.deepEqual([nearest.ids, nearest.distances], [[["id-8", "id-7"]], [[-7, -6]]]);
}

async function remove(collection: Collection) {
    await collection.delete({ ids: ["id-8", "id-0"] });
    assert.deepEqual((await collection.get({ include: [] })).ids, ids.slice(1));
    const gone = await collection.delete({ where: { n: { $gte: 6 } } });
    assert.equal(gone.deleted, 3);
    assert.deepEqual((await collection.get({ include: [] })).ids, at([2, 3, 4, 5]));
    await collection.delete({ whereDocument: { $contains: "eta" } });
    assert.deepEqual((await collection.get({ include: [] })).ids, at([2, 3, 4]));
    const nearest = await collection.query({ queryEmbeddings: [origin] });
    assert.deepEqual(nearest.ids, [at([2, 3, 4])]);
    const names = (await client.listCollections()).map((one) => one.name);
    assert.ok(names.includes("js-renamed") && names.includes("js-copy"));
    assert.equal(await client.countCollections(), names.length);
    assert.equal((await client.listCollections({ limit: 1, offset: 1 })).length, 1);
    await client.deleteCollection({ name: "js-renamed" });
    await client.deleteCollection({ name: "js-copy" });
    await fails(ChromaNotFoundError, /./, () => client.deleteCollection({ name: "js-copy" }));
    await fails(ChromaNotFoundError, /./, () => collection.count());
    assert.equal(await client.countCollections(), names.length - 2);
}

const texts = [
    "a recipe for apple pie", "the weather of the coming century",
    "how to repair a bicycle", "climate change and the climate",
];

/** Puts a text where its first letter says: not clever, but the server remembers whose it is. */
class FirstLetter implements EmbeddingFunction {
    public readonly name = "first-letter";
    async generate(input: string[]): Promise<number[][]> {
        return input.map((text) => [text.charCodeAt(0) - 96, 1]);
    }
    getConfig() {
        return { letters: 26 };
    }
    static buildFromConfig(config: { letters: number }): FirstLetter {
        assert.deepEqual(config, { letters: 26 });
        return new FirstLetter();
    }
}

async function text() {
    const made = await client.createCollection({ name: "js-texts" });
    await made.add({ ids: ["a", "b", "c", "d"], documents: texts });
    const again = await client.getCollection({ name: "js-texts" });
    assert.equal(again.embeddingFunction?.name, "default");
    const found = await again.query({ queryTexts: ["climate"], nResults: 2 });
    assert.deepEqual(found.documents, [[texts[3], texts[1]]]);
    assert.ok(found.distances[0]![0]! < found.distances[0]![1]!);
    await again.update({ ids: ["a"], documents: ["climate"] });
    const nearest = await again.query({ queryTexts: ["climate"], nResults: 1 });
    assert.deepEqual(nearest.ids, [["a"]]);
    assert.ok(Math.abs(nearest.distances[0]![0]!) < 1e-5);
    await client.deleteCollection({ name: "js-texts" });

    registerEmbeddingFunction("first-letter", FirstLetter as any);
    const own = await client.createCollection({
        name: "js-own", embeddingFunction: new FirstLetter(),
    });
    await own.add({ ids: ["a", "b", "c", "d"], documents: texts });
    const resolved = await client.getCollection({ name: "js-own" });
    assert.equal(resolved.embeddingFunction?.name, "first-letter");
    const letters = await resolved.query({ queryTexts: ["hello"], nResults: 1 });
    assert.deepEqual([letters.documents, letters.distances], [[[texts[2]]], [[0]]]);
    await client.deleteCollection({ name: "js-own" });
}

async function searchAndFork() {
    const made = await client.createCollection({ name: "js-search", embeddingFunction: null });
    await made.add({ ids, embeddings, documents, metadatas });
    const wanted = new Search().where(K("even").eq(true)).rank(Knn({ query: origin })).limit(2)
        .select(K.DOCUMENT, K.SCORE, "n");
    if (more.includes("search")) {
        const found = await made.search(wanted);
        assert.deepEqual(found.ids, [["id-0", "id-2"]]);
        assert.deepEqual(found.scores, [[0, 4]]);
        assert.deepEqual(found.metadatas, [[{ n: 0 }, { n: 2 }]]);
    } else {
        await fails(ChromaServerError, /Search/, () => made.search(wanted));
    }
    if (ours) {
        const forked = await made.fork({ name: "js-forked" });
        await made.delete({ ids: ids.slice(0, 4) });
        assert.deepEqual((await forked.get({ include: [] })).ids, ids);
        await client.deleteCollection({ name: "js-forked" });
    } else {
        await fails(ChromaServerError, /unsupported/, () => made.fork({ name: "js-forked" }));
    }
    await client.deleteCollection({ name: "js-search" });
}

async function databases() {
    const admin = new AdminClient({ host, port, ssl: false });
    const tenant = `js-tenant-${Date.now()}`;
    await admin.createTenant({ name: tenant });
    assert.ok(await admin.getTenant({ name: tenant }));
    await admin.createDatabase({ name: "js-database", tenant });
    const listed = await admin.listDatabases({ tenant });
    assert.deepEqual(listed.map((row) => row.name), ["js-database"]);
    const inside = new ChromaClient({ host, port, tenant, database: "js-database" });
    await inside.createCollection({ name: "js-inside", embeddingFunction: null });
    await fails(ChromaNotFoundError, /./, () => client.getCollection({ name: "js-inside" }));
    assert.deepEqual((await inside.listCollections()).map((one) => one.name), ["js-inside"]);
    await admin.deleteDatabase({ name: "js-database", tenant });
    await fails(ChromaNotFoundError, /./, () => admin.getDatabase({ name: "js-database", tenant }));
}

await system();
let collection = await create();
await fill(collection);
await filters(collection);
await pages(collection);
await query(collection);
await change(collection);
collection = await modify(collection);
await copy(collection);
await remove(collection);
await text();
await searchAndFork();
await databases();
