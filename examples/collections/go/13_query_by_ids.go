// 13. Constrain Query Candidates By ID
package main

import (
	"context"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
)

func queryByIDs(ctx context.Context, collection chroma.Collection) {
// From the page:
_, err := collection.Query(ctx,
    chroma.WithQueryTexts("climate"),
    chroma.WithIDs("doc-1", "doc-2", "doc-3"),
)
if err != nil {
    panic(err)
}
// Until here.
}
