// 4. Configure a persisted EF at collection creation
// The published module has no /v2 in its path.

// From the page:
package main

import (
    "context"
    "os"

    // page: chroma "github.com/amikos-tech/chroma-go/v2"
    // page: v2 "github.com/amikos-tech/chroma-go/v2/pkg/api/v2"
    // page: openai "github.com/amikos-tech/chroma-go/v2/pkg/embeddings/openai"
    chroma "github.com/amikos-tech/chroma-go/pkg/api/v2" // ours
    v2 "github.com/amikos-tech/chroma-go/pkg/api/v2" // ours
    openai "github.com/amikos-tech/chroma-go/pkg/embeddings/openai" // ours
)

func main() {
    ctx := context.Background()
    // page: client, _ := chroma.NewHTTPClient(ctx,
    // page:     chroma.WithDefaultDatabase("default_database"),
    // page:     chroma.WithDefaultTenant("default_tenant"),
    // page: )
    client, _ := chroma.NewHTTPClient(chroma.WithBaseURL(os.Getenv("CHROMA_URL")), // ours
        chroma.WithDatabaseAndTenant("default_database", "default_tenant")) // ours

    ef, _ := openai.NewOpenAIEmbeddingFunction(os.Getenv("OPENAI_API_KEY"))
    _, _ = client.CreateCollection(ctx, "with_openai_ef", v2.WithEmbeddingFunctionCreate(ef))

    // Persisted EF is auto-resolved server-side
    _, _ = client.GetCollection(ctx, "with_openai_ef")
}
// Until here.
