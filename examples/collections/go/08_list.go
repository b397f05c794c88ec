// 8. Listing all collections
package main

import (
	"context"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
)

func list(ctx context.Context, client chroma.Client) []chroma.Collection {
// From the page:
collections, _ := client.ListCollections(ctx)

// with pagination
collections, _ = client.ListCollections(ctx, chroma.ListWithLimit(10), chroma.ListWithOffset(0))
// Until here.
return collections
}
