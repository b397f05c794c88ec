// 9. Getting a collection
package main

import (
	"context"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
)

func get(ctx context.Context, client chroma.Client) chroma.Collection {
// From the page:
col, _ := client.GetCollection(ctx, "test")
// Until here.
return col
}
