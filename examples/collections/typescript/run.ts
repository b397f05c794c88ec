// Runs the page's blocks one by one, each on a server without collections, and checks what it left.
//
//     node run.js [NUMBER ...]
//
// The blocks talk to http://localhost:8000; with CHROMA_URL they talk to the server there instead.
// EVERY COLLECTION OF THAT SERVER'S DEFAULT DATABASE IS DELETED.

import assert from "node:assert/strict";

import { ChromaClient, ChromaNotFoundError, registerEmbeddingFunction } from "chromadb";

const written = "http://localhost:8000";
const url = (process.env["CHROMA_URL"] ?? written).replace(/\/$/, "");
const original = globalThis.fetch;
globalThis.fetch = (input, init) =>
    input instanceof Request
        ? original(new Request(input.url.replace(written, url), input), init)
        : original(String(input).replace(written, url), init);

const client = new ChromaClient();
const create = async (name: string) => {
    await client.createCollection({ name, metadata: { made: "before" }, embeddingFunction: null });
};
const test = () => create("test");

// What a block presumes, and what it must leave behind.
type Check = (names: any) => Promise<void>;
const blocks: Record<string, { before?: () => Promise<void>; after: Check }> = {
    "01_create": {
        after: async ({ collection }) => {
            const made = await client.getCollection({ name: "test" });
            assert.deepEqual([made.id, made.metadata], [collection.id, undefined]);
            assert.equal(made.embeddingFunction?.name, "default");
            assert.equal(await made.count(), 0);
        },
    },
    "02_get_or_create": {
        after: async ({ collection }) => {
            const again = await client.getOrCreateCollection({ name: "test" });
            assert.deepEqual([again.id, again.metadata], [collection.id, { key: "value" }]);
        },
    },
    "03_custom_hnsw": {
        after: async () => {
            const { hnsw } = (await client.getCollection({ name: "test" })).configuration;
            assert.deepEqual(
                [hnsw?.space, hnsw?.ef_construction, hnsw?.max_neighbors], ["cosine", 200, 32]);
        },
    },
    "04_openai_embedding_function": {
        after: async ({ sameCollection }) => {
            assert.equal(sameCollection.embeddingFunction.name, "openai");
            assert.equal(sameCollection.embeddingFunction.modelName, "text-embedding-3-small");
        },
    },
    "05_openai_api_key_variable": {
        after: async ({ ef }) => {
            assert.equal(ef.getConfig().api_key_env_var, "MY_CUSTOM_OPENAI_KEY");
        },
    },
    "06_custom_embedding_function": {
        after: async ({ MyEmbeddingFunction }) => {
            registerEmbeddingFunction("my-embedding-function", MyEmbeddingFunction);
            await client.createCollection({
                name: "mine",
                embeddingFunction: new MyEmbeddingFunction({ model: "my-model-v1" }),
            });
            const mine = await client.getCollection({ name: "mine" });
            assert.ok(mine.embeddingFunction instanceof MyEmbeddingFunction);
            await mine.add({ ids: ["1"], documents: ["a text"] });
            const found = await mine.get({ include: ["embeddings"] });
            assert.deepEqual(found.embeddings, [[0, 0, 0]]);
        },
    },
    "07_delete": {
        before: test,
        after: async () => {
            await assert.rejects(client.getCollection({ name: "test" }), ChromaNotFoundError);
        },
    },
    "08_list": {
        before: async () => {
            for (let number = 0; number < 12; number++) await create(`collection-${number}`);
        },
        after: async ({ collections, nextPage }) => {
            assert.deepEqual([collections.length, nextPage.length], [10, 2]);
            const names = [...collections, ...nextPage].map((one) => one.name);
            assert.equal(new Set(names).size, 12);
        },
    },
    "09_get": {
        before: test,
        after: async ({ collection }) => {
            assert.deepEqual([collection.name, collection.metadata], ["test", { made: "before" }]);
        },
    },
    "10_modify": {
        before: test,
        after: async ({ collection }) => {
            const changed = await client.getCollection({ name: "test2" });
            assert.deepEqual([changed.id, changed.metadata], [collection.id, { key: "value" }]);
        },
    },
    "11_count_collections": {
        before: test,
        after: async ({ count }) => assert.equal(count, 1),
    },
    "12_convenience": {
        after: async ({ collection }) => {
            const found = await collection.peek({ limit: 5 });
            assert.deepEqual(found.documents, ["hello world", "hello chroma"]);
            assert.equal(await collection.count(), 2);
        },
    },
    "13_query_by_ids": {
        after: async ({ found }) => {
            assert.equal(found.ids[0][0], "doc-2");
            assert.deepEqual(found.ids[0].toSorted(), ["doc-1", "doc-2", "doc-3"]);
        },
    },
    "14_result_types": {
        after: async ({ shapes: [got, found] }) => {
            assert.deepEqual(got.ids, ["doc-1", "doc-2", "doc-3", "doc-4"]);
            assert.equal(got.rows()[0].metadata.page, 1);
            assert.equal(found.rows()[0][0].id, "doc-4");
        },
    },
    "15_results": {
        after: async ({ getResult, queryResult }) => {
            const pages = getResult.rows().map((row: any) => row.metadata.page);
            assert.deepEqual(pages, [1, 2, 3, 4]);
            assert.equal(queryResult.rows()[0].length, 3);
            assert.deepEqual(queryResult.ids[0].slice(0, 2), ["doc-4", "doc-2"]);
        },
    },
};

const chosen = process.argv.slice(2).map((text) => text.padStart(2, "0"));
for (const [name, { before, after }] of Object.entries(blocks)) {
    if (chosen.length && !chosen.includes(name.slice(0, 2))) continue;
    for (const left of await client.listCollections()) {
        await client.deleteCollection({ name: left.name });
    }
    await before?.();
    await after(await import(`./${name}.js`));
    console.log(`ok ${name}`);
}
