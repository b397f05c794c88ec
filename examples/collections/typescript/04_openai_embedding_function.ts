// 4. Configure a persisted EF at collection creation
// The client overwrites that key with its default function, so the function goes beside it.
import { OpenAIEmbeddingFunction } from "@chroma-core/openai";

// From the page:
import { ChromaClient } from "chromadb";

const client = new ChromaClient();

const collection = await client.createCollection({
    name: "with_openai_ef",
    // page: configuration: {
    // page:     embedding_function: {
    // page:         name: "openai",
    // page:         config: {
    // page:             model_name: "text-embedding-3-small",
    // page:             apiKeyEnvVar: "OPENAI_API_KEY",
    // page:         },
    // page:     },
    // page: },
    embeddingFunction: new OpenAIEmbeddingFunction({ // ours
        modelName: "text-embedding-3-small", // ours
        apiKeyEnvVar: "OPENAI_API_KEY", // ours
    }), // ours
});

const sameCollection = await client.getCollection({ name: "with_openai_ef" });
// Until here.
export { collection, sameCollection };
