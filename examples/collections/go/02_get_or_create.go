// 2. Creating a collection if it does not exist
package main

import (
	"context"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
)

func getOrCreate(ctx context.Context, client chroma.Client) chroma.Collection {
// From the page:
col, _ := client.GetOrCreateCollection(ctx, "test")
// Until here.
return col
}
