// Command collections runs the page's blocks one by one, each on a server without collections, and
// checks what it left.
//
//	go build -o bin/ ./... && CHROMA_URL=http://localhost:8000 bin/collections
//
// EVERY COLLECTION OF THAT SERVER'S DEFAULT DATABASE IS DELETED.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
	"github.com/amikos-tech/chroma-go/pkg/embeddings"

	myef "vermilion/collections/06_custom_embedding_function"
	shapes "vermilion/collections/14_result_types"
)

// What the client answers has the shapes of the page, or this does not compile.
var (
	_ shapes.GetResult                   = (*chroma.GetResultImpl)(nil)
	_ shapes.QueryResult                 = (*chroma.QueryResultImpl)(nil)
	_ func(int) (shapes.ResultRow, bool) = (*chroma.GetResultImpl)(nil).At
	_ func() []shapes.ResultRow          = (*chroma.QueryResultImpl)(nil).Rows
	_ func() [][]shapes.ResultRow        = (*chroma.QueryResultImpl)(nil).RowGroups
	_                                    = shapes.GetResultImpl(chroma.GetResultImpl{})
	_                                    = shapes.QueryResultImpl(chroma.QueryResultImpl{})
)

var (
	ctx    = context.Background()
	client chroma.Client
)

func must[T any](answer T, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

func equal(got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("got %#v, expected %#v", got, expected))
	}
}

func create(name string) {
	must(client.CreateCollection(ctx, name, chroma.WithEmbeddingFunctionCreate(&myef.MyEmbeddingFunction{}),
		chroma.WithCollectionMetadataCreate(chroma.NewMetadata(chroma.NewStringAttribute("made", "before")))))
}

func fourRecords() chroma.Collection {
	collection := must(client.CreateCollection(ctx, "around"))
	page := func(number int64) chroma.DocumentMetadata {
		return chroma.NewDocumentMetadata(chroma.NewIntAttribute("page", number))
	}
	err := collection.Add(ctx, chroma.WithIDs("doc-1", "doc-2", "doc-3", "doc-4"),
		chroma.WithTexts("a recipe for apple pie", "the weather of the coming century",
			"how to repair a bicycle", "climate change and the climate"),
		chroma.WithMetadatas(page(1), page(2), page(3), page(4)))
	if err != nil {
		panic(err)
	}
	return collection
}

// program runs a block that is a program of its own.
func program(name string) {
	command := exec.Command(filepath.Join(filepath.Dir(must(os.Executable())), name))
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		panic(err)
	}
}

// storedFunction is the name of the embedding function that the server remembers.
func storedFunction(name string) any {
	stored, _ := must(client.GetCollection(ctx, name)).Configuration().GetRaw("embedding_function")
	return stored.(map[string]any)["name"]
}

var blocks = []struct {
	name string
	run  func()
}{
	{"01_create", func() {
		program("01_create")
		equal(must(must(client.GetCollection(ctx, "test")).Count(ctx)), 0)
		equal(storedFunction("test"), "default")
	}},
	{"02_get_or_create", func() {
		first := getOrCreate(ctx, client)
		equal(getOrCreate(ctx, client).ID(), first.ID())
	}},
	{"04_openai_embedding_function", func() {
		program("04_openai_embedding_function")
		equal(storedFunction("with_openai_ef"), "openai")
	}},
	{"06_custom_embedding_function", func() {
		create("mine")
		mine := must(client.GetCollection(ctx, "mine")) // resolves the function that the server remembers
		if err := mine.Add(ctx, chroma.WithIDs("1"), chroma.WithTexts("a text")); err != nil {
			panic(err)
		}
		found := must(mine.Get(ctx, chroma.WithInclude(chroma.IncludeEmbeddings)))
		equal(found.GetEmbeddings(), embeddings.Embeddings{embeddings.NewEmbeddingFromFloat32([]float32{0, 0, 0})})
		equal(storedFunction("mine"), "my-embedding-function")
	}},
	{"07_delete", func() {
		create("test")
		equal(deleteTest(ctx, client), nil)
		equal(must(client.CountCollections(ctx)), 0)
	}},
	{"08_list", func() {
		for number := 0; number < 12; number++ {
			create(fmt.Sprintf("collection-%d", number))
		}
		equal(len(list(ctx, client)), 10)
	}},
	{"09_get", func() {
		create("test")
		made, _ := get(ctx, client).Metadata().GetString("made")
		equal(made, "before")
	}},
	{"13_query_by_ids", func() {
		collection := fourRecords()
		queryByIDs(ctx, collection)
		// The block throws its answer away, so the same again: doc-4 would be the nearest.
		found := must(collection.Query(ctx, chroma.WithQueryTexts("climate"),
			chroma.WithIDs("doc-1", "doc-2", "doc-3")))
		equal(found.GetIDGroups()[0][0], chroma.DocumentID("doc-2"))
		equal(len(found.GetIDGroups()[0]), 3)
	}},
	{"14_result_types", func() {}}, // the compiler has run it
	{"15_results", func() { results(ctx, fourRecords()) }},
}

func main() {
	client = must(chroma.NewHTTPClient(chroma.WithBaseURL(os.Getenv("CHROMA_URL"))))
	for _, block := range blocks {
		for _, left := range must(client.ListCollections(ctx)) {
			if err := client.DeleteCollection(ctx, left.Name()); err != nil {
				panic(err)
			}
		}
		block.run()
		fmt.Println("ok", block.name)
	}
}
