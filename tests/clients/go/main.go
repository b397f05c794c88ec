// Everything a program does with a server, through the Go client.
//
//	client URL vermilion|chroma [search]
//
// The second argument says which server it talks to: a few answers are better here. The third says
// that it has the Search API.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	chroma "github.com/amikos-tech/chroma-go/pkg/api/v2"
	chhttp "github.com/amikos-tech/chroma-go/pkg/commons/http"
	"github.com/amikos-tech/chroma-go/pkg/embeddings"
)

var (
	ctx    = context.Background()
	client chroma.Client
	ours   bool

	// Nearest to [0, 1, 0] is id-0; the squared distance of id-n is n * n.
	ids       []chroma.DocumentID
	vectors   []embeddings.Embedding
	documents []string
	metadatas []chroma.DocumentMetadata
)

const count = 8

func init() {
	names := []string{"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"}
	for n := 0; n < count; n++ {
		ids = append(ids, id(n))
		vectors = append(vectors, vector(float32(n), 1, 0))
		documents = append(documents, "the "+names[n]+" letter")
		metadatas = append(metadatas, chroma.NewDocumentMetadata(
			chroma.NewIntAttribute("n", int64(n)),
			chroma.NewFloatAttribute("half", float64(n)/2),
			chroma.NewBoolAttribute("even", n%2 == 0),
			chroma.NewStringAttribute("word", []string{"even", "odd"}[n%2]),
			chroma.NewIntArrayAttribute("tags", []int64{int64(n), 100}),
		))
	}
}

func id(n int) chroma.DocumentID { return chroma.DocumentID(fmt.Sprintf("id-%d", n)) }

func vector(values ...float32) embeddings.Embedding {
	return embeddings.NewEmbeddingFromFloat32(values)
}

// places are the ids of some of the eight records.
func places(numbers ...int) chroma.DocumentIDs {
	found := chroma.DocumentIDs{}
	for _, n := range numbers {
		found = append(found, id(n))
	}
	return found
}

// fail says where in this file the program stopped, and why.
func fail(format string, values ...any) {
	for depth := 2; ; depth++ {
		if _, file, line, ok := runtime.Caller(depth); !ok || !strings.HasSuffix(file, "main.go") {
			break
		} else {
			fmt.Fprintf(os.Stderr, "%s:%d ", filepath.Base(file), line)
		}
	}
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

// must is the answer of a call that may not fail.
func must[T any](answer T, err error) T {
	check(err)
	return answer
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func equal(got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		fail("got %#v, expected %#v", got, expected)
	}
}

// refused asserts the status and a part of the message of an error that the server answered.
func refused(err error, status int, part string) {
	var answer *chhttp.ChromaError
	if !errors.As(err, &answer) {
		fail("no answer of the server but %v", err)
	}
	equal(answer.ErrorCode, status)
	if !strings.Contains(answer.Message, part) {
		fail("%q is not in %q", part, answer.Message)
	}
}

func system() {
	for _, left := range must(client.ListCollections(ctx)) {
		if strings.HasPrefix(left.Name(), "go-") {
			check(client.DeleteCollection(ctx, left.Name()))
		}
	}
	check(client.Heartbeat(ctx))
	check(client.PreFlight(ctx))
	equal(strings.Count(must(client.GetVersion(ctx)), "."), 2)
	identity := must(client.GetIdentity(ctx))
	equal(identity.Tenant, "default_tenant")
}

func create() chroma.Collection {
	made := must(client.CreateCollection(ctx, "go-main",
		chroma.WithCollectionMetadataCreate(chroma.NewMetadata(
			chroma.NewStringAttribute("title", "main"),
			chroma.NewIntAttribute("year", 2026),
			chroma.NewFloatAttribute("share", 1.0),
			chroma.NewBoolAttribute("open", true),
		)),
		chroma.WithEmbeddingFunctionCreate(embeddings.NewConsistentHashEmbeddingFunction()),
		chroma.WithHNSWSpaceCreate(embeddings.L2),
	))
	equal(made.Name(), "go-main")
	equal(must(made.Count(ctx)), 0)
	got := must(client.GetCollection(ctx, "go-main"))
	equal(got.ID(), made.ID())
	title, _ := got.Metadata().GetString("title")
	year, isInt := got.Metadata().GetInt("year")
	share, isFloat := got.Metadata().GetFloat("share")
	open, _ := got.Metadata().GetBool("open")
	equal([]any{title, year, share, open, isInt, isFloat}, []any{"main", int64(2026), 1.0, true, true, true})
	same := must(client.GetOrCreateCollection(ctx, "go-main"))
	equal(same.ID(), made.ID())
	_, err := client.CreateCollection(ctx, "go-main")
	refused(err, 409, "already exists")
	return got
}

func fill(collection chroma.Collection) {
	check(collection.Add(ctx, chroma.WithIDs(ids...), chroma.WithEmbeddings(vectors...),
		chroma.WithTexts(documents...), chroma.WithMetadatas(metadatas...)))
	equal(must(collection.Count(ctx)), count)
	check(collection.Add(ctx, chroma.WithIDs("id-0"), chroma.WithEmbeddings(vector(9, 9, 9)),
		chroma.WithTexts("another")))
	everything := must(collection.Get(ctx,
		chroma.WithInclude(chroma.IncludeDocuments, chroma.IncludeMetadatas, chroma.IncludeEmbeddings)))
	rows := everything.(*chroma.GetResultImpl).Rows()
	equal(len(rows), count)
	for n, row := range rows {
		equal([]any{row.ID, row.Document, row.Embedding}, []any{ids[n], documents[n], []float32{float32(n), 1, 0}})
		number, isInt := row.Metadata.GetInt("n")
		half, isFloat := row.Metadata.GetFloat("half")
		even, isBool := row.Metadata.GetBool("even")
		word, isString := row.Metadata.GetString("word")
		tags, isList := row.Metadata.GetIntArray("tags")
		equal([]any{number, half, even, tags}, []any{int64(n), float64(n) / 2, n%2 == 0, []int64{int64(n), 100}})
		equal([]bool{isInt, isFloat, isBool, isString, isList}, []bool{true, true, true, true, true})
		equal(word, []string{"even", "odd"}[n%2])
	}
	err := collection.Add(ctx, chroma.WithIDs("x"), chroma.WithEmbeddings(vector(1, 2)))
	refused(err, 400, "dimension of 3, got 2")
	some := must(collection.Get(ctx, chroma.WithIDs("id-5", "id-1", "nobody"), chroma.WithInclude(chroma.IncludeMetadatas)))
	equal(some.GetIDs(), places(1, 5))
}

func filters(collection chroma.Collection) {
	for _, row := range []struct {
		where    chroma.WhereClause
		expected []int
	}{
		{chroma.EqInt("n", 3), []int{3}},
		{chroma.NotEqInt("n", 3), []int{0, 1, 2, 4, 5, 6, 7}},
		{chroma.GtInt("n", 5), []int{6, 7}},
		{chroma.GteInt("n", 5), []int{5, 6, 7}},
		{chroma.LtFloat("half", 1), []int{0, 1}},
		{chroma.LteFloat("half", 1.5), []int{0, 1, 2, 3}},
		{chroma.EqBool("even", true), []int{0, 2, 4, 6}},
		{chroma.InString("word", "odd", "other"), []int{1, 3, 5, 7}},
		{chroma.NinInt("n", 0, 1, 2, 3), []int{4, 5, 6, 7}},
		{chroma.MetadataContainsInt("tags", 4), []int{4}},
		{chroma.And(chroma.GtInt("n", 1), chroma.EqBool("even", true)), []int{2, 4, 6}},
		{chroma.Or(chroma.EqInt("n", 0), chroma.GtFloat("half", 3)), []int{0, 7}},
		{chroma.EqString("nothing", "at all"), nil},
	} {
		found := must(collection.Get(ctx, chroma.WithWhere(row.where)))
		equal(found.GetIDs(), places(row.expected...))
		nearest := must(collection.Query(ctx, chroma.WithQueryEmbeddings(vector(0, 1, 0)), chroma.WithWhere(row.where)))
		equal(nearest.GetIDGroups(), []chroma.DocumentIDs{places(row.expected...)})
	}
	for _, row := range []struct {
		where    chroma.WhereDocumentFilter
		expected []int
	}{
		{chroma.Contains("eta"), []int{1, 5, 6, 7}},
		{chroma.NotContains("eta"), []int{0, 2, 3, 4}},
		{chroma.Regex("the [a-d]"), []int{0, 1, 3}},
		{chroma.NotRegex("the [a-d]"), []int{2, 4, 5, 6, 7}},
		{chroma.OrDocument(chroma.Contains("gamma"), chroma.Contains("delta")), []int{2, 3}},
	} {
		found := must(collection.Get(ctx, chroma.WithWhereDocument(row.where)))
		equal(found.GetIDs(), places(row.expected...))
	}
}

func pages(collection chroma.Collection) {
	for offset, expected := range map[int]chroma.DocumentIDs{
		0: places(0, 1, 2), 3: places(3, 4, 5), 6: places(6, 7), 9: places(),
	} {
		found := must(collection.Get(ctx, chroma.WithLimit(3), chroma.WithOffset(offset)))
		equal(found.GetIDs(), expected)
	}
}

func query(collection chroma.Collection) {
	found := must(collection.Query(ctx, chroma.WithNResults(2),
		chroma.WithQueryEmbeddings(vector(0, 1, 0), vector(7, 1, 0)),
		chroma.WithInclude(chroma.IncludeDocuments, chroma.IncludeMetadatas, chroma.IncludeDistances)))
	equal(found.GetIDGroups(), []chroma.DocumentIDs{places(0, 1), places(7, 6)})
	equal(found.GetDistancesGroups(), []embeddings.Distances{{0, 1}, {0, 1}})
	row, _ := found.(*chroma.QueryResultImpl).At(1, 1)
	equal([]any{row.Document, row.Score}, []any{documents[6], 1.0})
	among := must(collection.Query(ctx, chroma.WithQueryEmbeddings(vector(0, 1, 0)),
		chroma.WithIDs("id-6", "id-4", "id-5"), chroma.WithInclude(chroma.IncludeEmbeddings)))
	equal(among.GetIDGroups(), []chroma.DocumentIDs{places(4, 5, 6)})
	equal(among.GetEmbeddingsGroups()[0][2].ContentAsFloat32(), []float32{6, 1, 0})
	unknown, err := collection.Query(ctx, chroma.WithQueryEmbeddings(vector(0, 1, 0)), chroma.WithIDs("nobody", "id-3"))
	if ours {
		check(err)
		equal(unknown.GetIDGroups(), []chroma.DocumentIDs{places(3)})
	} else {
		refused(err, 500, "finding id")
	}
}

func change(collection chroma.Collection) {
	metadata := chroma.NewDocumentMetadata(
		chroma.NewIntAttribute("n", 100), chroma.RemoveAttribute("even"), chroma.NewStringAttribute("new", "yes"))
	check(collection.Update(ctx, chroma.WithIDs("id-0"), chroma.WithEmbeddings(vector(0, 1, 0)),
		chroma.WithTexts("a new text"), chroma.WithMetadatas(metadata)))
	row, _ := must(collection.Get(ctx, chroma.WithIDs("id-0"))).(*chroma.GetResultImpl).At(0)
	equal(row.Document, "a new text")
	number, _ := row.Metadata.GetInt("n")
	_, hasEven := row.Metadata.GetBool("even")
	word, _ := row.Metadata.GetString("word")
	equal([]any{number, hasEven, word}, []any{int64(100), false, "even"})

	only := chroma.NewDocumentMetadata(chroma.NewIntAttribute("n", 102))
	err := collection.Update(ctx, chroma.WithIDs("id-2"), chroma.WithMetadatas(only))
	if ours {
		check(err) // the client sends an empty list of embeddings, which Chroma's server refuses
		row, _ := must(collection.Get(ctx, chroma.WithIDs("id-2"))).(*chroma.GetResultImpl).At(0)
		number, _ := row.Metadata.GetInt("n")
		equal(number, int64(102))
		check(collection.Update(ctx, chroma.WithIDs("id-2"), chroma.WithMetadatas(metadatas[2])))
	} else {
		refused(err, 400, "")
	}

	check(collection.Upsert(ctx, chroma.WithIDs("id-1", "id-8"),
		chroma.WithEmbeddings(vector(1, 1, 1), vector(8, 1, 0)), chroma.WithTexts("changed", "ünï ☃ 漢字"),
		chroma.WithMetadatas(
			chroma.NewDocumentMetadata(chroma.NewIntAttribute("n", 101)),
			chroma.NewDocumentMetadata(chroma.NewIntAttribute("n", 8)))))
	equal(must(collection.Count(ctx)), count+1)
	changed := must(collection.Get(ctx, chroma.WithIDs("id-1", "id-8"),
		chroma.WithInclude(chroma.IncludeDocuments, chroma.IncludeEmbeddings)))
	rows := changed.(*chroma.GetResultImpl).Rows()
	equal([]any{rows[0].Document, rows[1].Document}, []any{"changed", "ünï ☃ 漢字"})
	equal(rows[0].Embedding, []float32{1, 1, 1})
}

func modify(collection chroma.Collection) chroma.Collection {
	check(collection.ModifyName(ctx, "go-renamed"))
	check(collection.ModifyMetadata(ctx, chroma.NewMetadata(chroma.NewStringAttribute("title", "renamed"))))
	check(collection.ModifyConfiguration(ctx,
		chroma.NewUpdateCollectionConfiguration(chroma.WithHNSWEfSearchModify(77))))
	renamed := must(client.GetCollection(ctx, "go-renamed"))
	equal(renamed.ID(), collection.ID())
	equal(renamed.Metadata().Keys(), []string{"title"})
	hnsw, _ := renamed.Configuration().GetRaw("hnsw")
	equal(hnsw.(map[string]any)["ef_search"], 77.0)
	_, err := client.GetCollection(ctx, "go-main")
	refused(err, 404, "does not exist")
	return renamed
}

func copyTo(collection chroma.Collection) {
	target := must(client.CreateCollection(ctx, "go-copy", chroma.WithHNSWSpaceCreate(embeddings.IP),
		chroma.WithEmbeddingFunctionCreate(embeddings.NewConsistentHashEmbeddingFunction())))
	columns := chroma.WithInclude(chroma.IncludeDocuments, chroma.IncludeMetadatas, chroma.IncludeEmbeddings)
	for offset := 0; offset < must(collection.Count(ctx)); offset += 4 {
		batch := must(collection.Get(ctx, columns, chroma.WithLimit(4), chroma.WithOffset(offset)))
		texts := []string{}
		for _, document := range batch.GetDocuments() {
			texts = append(texts, document.ContentString())
		}
		check(target.Add(ctx, chroma.WithIDs(batch.GetIDs()...), chroma.WithTexts(texts...),
			chroma.WithMetadatas(batch.GetMetadatas()...), chroma.WithEmbeddings(batch.GetEmbeddings()...)))
	}
	before, after := must(collection.Get(ctx, columns)), must(target.Get(ctx, columns))
	equal(after.(*chroma.GetResultImpl).Rows(), before.(*chroma.GetResultImpl).Rows())
	nearest := must(target.Query(ctx, chroma.WithQueryEmbeddings(vector(1, 0, 0)), chroma.WithNResults(2),
		chroma.WithInclude(chroma.IncludeDistances)))
	equal(nearest.GetIDGroups(), []chroma.DocumentIDs{places(8, 7)})
	equal(nearest.GetDistancesGroups(), []embeddings.Distances{{-7, -6}})
}

func remove(collection chroma.Collection) {
	check(collection.Delete(ctx, chroma.WithIDs("id-8", "id-0")))
	check(collection.Delete(ctx, chroma.WithWhere(chroma.GteInt("n", 6))))
	equal(must(collection.Get(ctx)).GetIDs(), places(2, 3, 4, 5))
	check(collection.Delete(ctx, chroma.WithWhereDocument(chroma.Contains("eta"))))
	equal(must(collection.Get(ctx)).GetIDs(), places(2, 3, 4))
	listed := must(client.ListCollections(ctx))
	equal(must(client.CountCollections(ctx)), len(listed))
	equal(len(must(client.ListCollections(ctx, chroma.ListWithLimit(1), chroma.ListWithOffset(1)))), 1)
	check(client.DeleteCollection(ctx, "go-renamed"))
	check(client.DeleteCollection(ctx, "go-copy"))
	refused(client.DeleteCollection(ctx, "go-copy"), 404, "does not exist")
	_, err := collection.Count(ctx)
	refused(err, 404, "does not exist")
	equal(must(client.CountCollections(ctx)), len(listed)-2)
}

// texts go through the client's default model, which it finds in its cache.
func texts() {
	made := must(client.CreateCollection(ctx, "go-texts"))
	check(made.Add(ctx, chroma.WithIDs("a", "b", "c", "d"), chroma.WithTexts("a recipe for apple pie",
		"the weather of the coming century", "how to repair a bicycle", "climate change and the climate")))
	again := must(client.GetCollection(ctx, "go-texts"))
	found := must(again.Query(ctx, chroma.WithQueryTexts("climate"), chroma.WithNResults(2),
		chroma.WithInclude(chroma.IncludeDocuments, chroma.IncludeDistances)))
	equal(found.GetIDGroups(), []chroma.DocumentIDs{{"d", "b"}})
	check(again.Update(ctx, chroma.WithIDs("a"), chroma.WithTexts("climate")))
	found = must(again.Query(ctx, chroma.WithQueryTexts("climate"), chroma.WithNResults(1),
		chroma.WithInclude(chroma.IncludeDistances)))
	equal(found.GetIDGroups(), []chroma.DocumentIDs{{"a"}})
	if distance := float64(found.GetDistancesGroups()[0][0]); math.Abs(distance) > 1e-5 {
		fail("distance %v of a text to itself", distance)
	}
	check(client.DeleteCollection(ctx, "go-texts"))
}

// dense is the vector of a Knn: of the client's own types only the sparse vector is one.
type dense []float32

func (d dense) Len() int                   { return len(d) }
func (d dense) ValuesAsFloat32() []float32 { return d }

func searchAndFork() {
	made := must(client.CreateCollection(ctx, "go-search",
		chroma.WithEmbeddingFunctionCreate(embeddings.NewConsistentHashEmbeddingFunction())))
	check(made.Add(ctx, chroma.WithIDs(ids...), chroma.WithEmbeddings(vectors...),
		chroma.WithTexts(documents...), chroma.WithMetadatas(metadatas...)))
	found, err := made.Search(ctx, chroma.NewSearchRequest(
		chroma.WithKnnRank(chroma.KnnQueryVector(dense{0, 1, 0})),
		chroma.WithFilter(chroma.EqBool(chroma.K("even"), true)),
		chroma.WithPage(chroma.PageLimit(2)),
		chroma.WithSelect(chroma.KDocument, chroma.KScore, chroma.K("n")),
	))
	if slices.Contains(os.Args, "search") {
		check(err)
		answer := found.(*chroma.SearchResultImpl)
		equal(answer.IDs, [][]chroma.DocumentID{{"id-0", "id-2"}})
		equal(answer.Scores, [][]float64{{0, 4}})
		equal(answer.Documents, [][]string{{documents[0], documents[2]}})
	} else {
		refused(err, 501, "Search")
	}
	if ours {
		forked := must(made.Fork(ctx, "go-forked"))
		check(made.Delete(ctx, chroma.WithIDs(ids[:4]...)))
		equal(must(forked.Get(ctx)).GetIDs(), chroma.DocumentIDs(ids))
		check(client.DeleteCollection(ctx, "go-forked"))
	} else {
		_, err = made.Fork(ctx, "go-forked")
		refused(err, 501, "unsupported")
	}
	check(client.DeleteCollection(ctx, "go-search"))
}

func databases(url string) {
	tenant := chroma.NewTenant(fmt.Sprintf("go-tenant-%d", time.Now().UnixNano()))
	must(client.CreateTenant(ctx, tenant))
	equal(must(client.GetTenant(ctx, tenant)).Name(), tenant.Name())
	database := chroma.NewDatabase("go-database", tenant)
	must(client.CreateDatabase(ctx, database))
	listed := must(client.ListDatabases(ctx, tenant))
	equal([]any{len(listed), listed[0].Name()}, []any{1, "go-database"})
	inside := must(chroma.NewHTTPClient(chroma.WithBaseURL(url), chroma.WithDatabaseAndTenant("go-database", tenant.Name())))
	must(inside.CreateCollection(ctx, "go-inside",
		chroma.WithEmbeddingFunctionCreate(embeddings.NewConsistentHashEmbeddingFunction())))
	_, err := client.GetCollection(ctx, "go-inside")
	refused(err, 404, "does not exist")
	equal(must(inside.CountCollections(ctx)), 1)
	check(client.DeleteDatabase(ctx, database))
	_, err = client.GetDatabase(ctx, database)
	refused(err, 404, "not found")
}

func main() {
	url := os.Args[1]
	ours = os.Args[2] == "vermilion"
	client = must(chroma.NewHTTPClient(chroma.WithBaseURL(url), chroma.WithDefaultDatabaseAndTenant()))
	system()
	collection := create()
	fill(collection)
	filters(collection)
	pages(collection)
	query(collection)
	change(collection)
	collection = modify(collection)
	copyTo(collection)
	remove(collection)
	texts()
	searchAndFork()
	databases(url)
	check(client.Close())
}
