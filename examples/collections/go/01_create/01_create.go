// 1. Creating a collection
// The published module has its client in pkg/api/v2, with other parameters.

// From the page:
package main

import (
    "context"
    // page: chroma "github.com/amikos-tech/chroma-go"
    chroma "github.com/amikos-tech/chroma-go/pkg/api/v2" // ours
    "os" // ours
)

func main() {
    ctx := context.Background()
    // page: client, _ := chroma.NewHTTPClient(ctx, chroma.WithDefaultDatabase("default_database"), chroma.WithDefaultTenant("default_tenant"))
    client, _ := chroma.NewHTTPClient(chroma.WithBaseURL(os.Getenv("CHROMA_URL")), chroma.WithDatabaseAndTenant("default_database", "default_tenant")) // ours
    // page: col, _ := client.CreateCollection(ctx, "test", false)
    col, _ := client.CreateCollection(ctx, "test") // ours
    _ = col // ours
}
// Until here.
