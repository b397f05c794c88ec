// 7. Deleting a collection
// The published client answers an error alone.
package main

import (
	"context"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
)

func deleteTest(ctx context.Context, client chroma.Client) error {
// From the page:
// page: _, err := client.DeleteCollection(ctx, "test")
err := client.DeleteCollection(ctx, "test") // ours
// Until here.
return err
}
