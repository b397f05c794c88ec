"""install_as_chromadb: our modules under Chroma's import paths.

    import vermilion

    vermilion.install_as_chromadb()

    from langchain_chroma import Chroma  # runs on Vermilion

TABLE says which name of which path is which of ours. A name whose feature is missing here is
missing there, too: importing it fails, and nothing pretends. Only attached functions can be
imported by their names, and are refused when they are called.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType

# The release of Chroma whose interface this is; libraries compare it.
CHROMA_VERSION = "1.5.9"

# Names, and the module of ours that has them; "theirs=ours" where the two differ.
Names = tuple[tuple[str, str], ...]

# ── names that stand in several modules of Chroma ────────────────────────────────────────────────

_TENANCY: Names = (("vermilion.types", "DEFAULT_DATABASE DEFAULT_TENANT"),)

_CLIENTS: Names = (
    ("vermilion.api.admin", "AdminAPI=AdminClient"),
    ("vermilion.api.aio", "AsyncAdminAPI=AsyncAdminClient AsyncClientAPI=AsyncClient"),
    ("vermilion.api.client", "ClientAPI=Client"),
    ("vermilion.api.collection", "Collection"),
)

_FILTER_TYPES: Names = (
    (
        "vermilion.types",
        """
        LiteralValue LogicalOperator Metadata OperatorExpression PyVector UpdateMetadata Vector
        Where WhereDocument WhereDocumentOperator WhereOperator
        """,
    ),
    ("vermilion.compat.types", "InclusionExclusionOperator"),
)

_SPARSE: Names = (("vermilion.types", "SPARSE_VECTOR_TYPE_VALUE SparseVector TYPE_KEY"),)

_COLUMN_TYPES: Names = (
    (
        "vermilion.types",
        """
        CollectionMetadata DataLoader DeleteResult Document Documents Embeddable Embedding
        Embeddings ID IDs Image ImageDType Images Include Loadable Metadatas
        PyEmbedding PyEmbeddings ReadLevel Space SparseVectors URI URIs
        UpdateCollectionMetadata
        """,
    ),
    ("vermilion.reports", "IndexingStatus"),
    ("vermilion.api.answers", "GetResult QueryResult"),
)

_SCHEMA: Names = (
    (
        "vermilion.schema.builder",
        """
        BoolInvertedIndexConfig Cmek FloatInvertedIndexConfig FtsIndexConfig HnswIndexConfig
        IntInvertedIndexConfig Schema SpannIndexConfig SparseVectorIndexConfig
        StringInvertedIndexConfig VectorIndexConfig
        """,
    ),
)

_SCHEMA_PARTS: Names = (
    (
        "vermilion.schema.builder",
        """
        BoolInvertedIndexType BoolValueType CmekProvider FloatInvertedIndexType FloatListValueType
        FloatValueType FtsIndexType IndexConfig IntInvertedIndexType IntValueType
        SparseVectorIndexType SparseVectorValueType StringInvertedIndexType StringValueType
        ValueTypes VectorIndexType DOCUMENT_KEY=DOCUMENT EMBEDDING_KEY=EMBEDDING
        """,
    ),
    (
        "vermilion.compat.types",
        """
        BOOL_INVERTED_INDEX_NAME BOOL_VALUE_NAME FLOAT_INVERTED_INDEX_NAME FLOAT_LIST_VALUE_NAME
        FLOAT_VALUE_NAME FTS_INDEX_NAME HNSW_INDEX_NAME INT_INVERTED_INDEX_NAME INT_VALUE_NAME
        SPANN_INDEX_NAME SPARSE_VECTOR_INDEX_NAME SPARSE_VECTOR_VALUE_NAME
        STRING_INVERTED_INDEX_NAME STRING_VALUE_NAME VECTOR_INDEX_NAME
        """,
    ),
)

# What belongs to the embedding functions themselves.
_EMBEDDING: Names = (
    ("vermilion.embeddings.base", "EmbeddingFunction"),
    ("vermilion.embeddings.sparse", "SparseEmbeddingFunction"),
    ("vermilion.embeddings.default", "DefaultEmbeddingFunction"),
)

_CHECKS: Names = (
    (
        "vermilion.compat.types",
        """
        convert_list_embeddings_to_np convert_np_embeddings_to_list deserialize_metadata
        get_default_embeddable_record_set_fields is_document is_image normalize_base_record_set
        normalize_embeddings normalize_insert_record_set normalize_metadata normalize_metadatas
        optional_base64_strings_to_embeddings optional_embeddings_to_base64_strings
        pack_embedding_safely serialize_metadata validate_base_record_set validate_batch
        validate_documents validate_embeddings validate_filter_set validate_ids validate_images
        validate_include validate_insert_record_set validate_metadata validate_metadatas
        validate_n_results validate_record_set_contains_any validate_record_set_contains_one
        validate_record_set_for_embedding validate_sparse_vectors validate_update_metadata
        validate_where validate_where_document
        """,
    ),
    ("vermilion.embeddings.base", "validate_embedding_function=check_signature"),
    (
        "vermilion.embeddings.sparse",
        "validate_sparse_embedding_function=check_sparse_signature",
    ),
    ("vermilion.api.answers", "SearchResult SearchResultRow"),
    ("vermilion.metadata", "META_KEY_CHROMA_DOCUMENT=RESERVED_KEY"),
    ("vermilion.records", "maybe_cast_one_to_many=as_list"),
)

_REQUESTS: Names = (
    (
        "vermilion.compat.types",
        """
        AddRequest BaseRecordSet DeleteRequest FilterSet GetRequest IncludeMetadataDocuments
        IncludeMetadataDocumentsDistances IncludeMetadataDocumentsEmbeddings
        IncludeMetadataDocumentsEmbeddingsDistances IndexMetadata InsertRecordSet OneOrMany
        Parameter QueryRequest UpdateRequest UpsertRequest
        """,
    ),
)

_TYPES = (
    _FILTER_TYPES + _SPARSE + _COLUMN_TYPES + _SCHEMA + _SCHEMA_PARTS + _EMBEDDING + _CHECKS
    + _REQUESTS
)  # fmt: skip

_SEARCH: Names = (
    (
        "vermilion.query.search",
        """
        Abs Aggregate And Contains Div Eq Exp GroupBy Gt Gte In K Key Knn Limit Log Lt Lte Max MaxK
        Min MinK Mul Ne Nin NotContains NotRegex Or Rank Regex Rrf Search SearchWhere Select Sub
        Sum Val
        """,
    ),
)

_CONFIGURATION: Names = (
    (
        "vermilion.compat.configuration",
        "CreateCollectionConfiguration UpdateCollectionConfiguration",
    ),
)

_RECORDED: Names = (
    ("vermilion.compat.types", "Database Tenant"),
    ("vermilion.types", "UserIdentity"),
)

# The modules that have one function each, or those of one maker.
_FUNCTION_MODULES: Mapping[str, tuple[str, str]] = {
    module: ("vermilion.utils.embedding_functions", names)
    for module, names in {
        "amazon_bedrock_embedding_function": "AmazonBedrockEmbeddingFunction",
        "baseten_embedding_function": "BasetenEmbeddingFunction",
        "bm25_embedding_function": "Bm25EmbeddingFunction",
        "chroma_bm25_embedding_function": "ChromaBm25EmbeddingFunction",
        "chroma_cloud_qwen_embedding_function": "ChromaCloudQwenEmbeddingFunction",
        "chroma_cloud_splade_embedding_function": "ChromaCloudSpladeEmbeddingFunction",
        "chroma_langchain_embedding_function": "ChromaLangchainEmbeddingFunction",
        "cloudflare_workers_ai_embedding_function": "CloudflareWorkersAIEmbeddingFunction",
        "cohere_embedding_function": "CohereEmbeddingFunction",
        "fastembed_sparse_embedding_function": "FastembedSparseEmbeddingFunction",
        "google_embedding_function": """
            GoogleGeminiEmbeddingFunction GoogleGenaiEmbeddingFunction
            GoogleGenerativeAiEmbeddingFunction GooglePalmEmbeddingFunction
            GoogleVertexEmbeddingFunction
        """,
        "huggingface_sparse_embedding_function": "HuggingFaceSparseEmbeddingFunction",
        "huggingface_embedding_function": "HuggingFaceEmbeddingFunction HuggingFaceEmbeddingServer",
        "instructor_embedding_function": "InstructorEmbeddingFunction",
        "jina_embedding_function": "JinaEmbeddingFunction",
        "mistral_embedding_function": "MistralEmbeddingFunction",
        "morph_embedding_function": "MorphEmbeddingFunction",
        "nomic_embedding_function": "NomicEmbeddingFunction",
        "ollama_embedding_function": "OllamaEmbeddingFunction",
        "onnx_mini_lm_l6_v2": "ONNXMiniLM_L6_V2",
        "open_clip_embedding_function": "OpenCLIPEmbeddingFunction",
        "openai_embedding_function": "OpenAIEmbeddingFunction",
        "perplexity_embedding_function": "PerplexityEmbeddingFunction",
        "roboflow_embedding_function": "RoboflowEmbeddingFunction",
        "sentence_transformer_embedding_function": "SentenceTransformerEmbeddingFunction",
        "text2vec_embedding_function": "Text2VecEmbeddingFunction",
        "together_ai_embedding_function": "TogetherAIEmbeddingFunction",
        "voyageai_embedding_function": "VoyageAIEmbeddingFunction",
    }.items()
}

# ── the paths ────────────────────────────────────────────────────────────────────────────────────

TABLE: Mapping[str, Names] = {
    "chromadb": (
        ("vermilion.compat.paths", "__version__=CHROMA_VERSION"),
        ("vermilion.api.admin", "AdminClient AdminClientCreator=AdminClient"),
        ("vermilion.api.aio", "AsyncClientCreator=AsyncClient AsyncHttpClient=async_http_client"),
        (
            "vermilion.api.client",
            """
            ClientCreator=Client EphemeralClient=ephemeral_client
            PersistentClient=persistent_client
            """,
        ),
        (
            "vermilion.api.servers",
            "Client=make_client CloudClient=cloud_client HttpClient=http_client",
        ),
        (
            "vermilion.compat.system",
            "IN_COLAB RustClient=rust_client configure get_settings is_client is_in_colab",
        ),
        ("vermilion.api.settings", "Settings"),
        ("vermilion.auth_types", "TokenTransportHeader"),
        ("vermilion.query.search", "K Key Knn Rrf Search"),
        *_CLIENTS,
        *_TENANCY,
        *_FILTER_TYPES,
        *_SPARSE,
        *_COLUMN_TYPES,
        *_SCHEMA,
        *_EMBEDDING,
    ),
    "chromadb.api": (
        # Theirs are layers; ours is one client over one Engine.
        ("vermilion.api.client", "BaseAPI=Client"),
        ("vermilion.engine", "ServerAPI=Engine CollectionModel=CollectionInfo"),
        ("vermilion.api.settings", "Settings"),
        *_CLIENTS,
        *_TENANCY,
        *_TYPES,
        *_SEARCH,
        *_CONFIGURATION,
        *_RECORDED,
    ),
    "chromadb.api.async_api": (
        (
            "vermilion.api.aio",
            """
            AsyncAdminAPI=AsyncAdminClient AsyncBaseAPI=AsyncClient AsyncClientAPI=AsyncClient
            AsyncCollection
            """,
        ),
    ),
    "chromadb.api.async_client": (
        ("vermilion.api.aio", "AsyncAdminClient AsyncClient AsyncCollection"),
    ),
    "chromadb.api.async_fastapi": (("vermilion.remote.engine", "AsyncFastAPI=RemoteEngine"),),
    "chromadb.api.client": (
        ("vermilion.api.admin", "AdminClient"),
        ("vermilion.api.client", "Client SharedSystemClient=Client"),
        ("vermilion.api.collection", "Collection"),
    ),
    "chromadb.api.collection_configuration": (
        (
            "vermilion.compat.configuration",
            """
            CollectionConfiguration CreateHNSWConfiguration CreateSpannConfiguration
            HNSWConfiguration SpannConfiguration UpdateHNSWConfiguration UpdateSpannConfiguration
            collection_configuration_to_json collection_configuration_to_json_str
            create_collection_configuration_from_legacy_collection_metadata
            create_collection_configuration_from_legacy_metadata_dict
            create_collection_configuration_to_json create_collection_configuration_to_json_str
            load_collection_configuration_from_json load_collection_configuration_from_json_str
            load_create_collection_configuration_from_json
            load_update_collection_configuration_from_json
            load_update_collection_configuration_from_json_str overwrite_collection_configuration
            overwrite_embedding_function overwrite_hnsw_configuration
            update_collection_configuration_from_legacy_collection_metadata
            update_collection_configuration_from_legacy_update_metadata
            update_collection_configuration_to_json update_collection_configuration_to_json_str
            validate_embedding_function_conflict_on_create
            validate_embedding_function_conflict_on_get
            """,
        ),
        *_CONFIGURATION,
    ),
    "chromadb.api.fastapi": (("vermilion.remote.engine", "FastAPI=RemoteEngine"),),
    "chromadb.api.functions": (
        ("vermilion.compat.functions", "Function RECORD_COUNTER_FUNCTION STATISTICS_FUNCTION"),
    ),
    "chromadb.api.models": (),
    "chromadb.api.models.AsyncCollection": (("vermilion.api.aio", "AsyncCollection"),),
    "chromadb.api.models.Collection": (("vermilion.api.collection", "Collection"),),
    "chromadb.api.rust": (("vermilion.engine", "RustBindingsAPI=Engine"),),
    "chromadb.api.shared_system_client": (("vermilion.api.client", "SharedSystemClient=Client"),),
    "chromadb.api.types": _TYPES,
    "chromadb.auth": (("vermilion.types", "UserIdentity"),),
    # Settings name the provider by this path; nothing is imported from it.
    "chromadb.auth.basic_authn": (),
    "chromadb.auth.token_authn": (("vermilion.auth_types", "TokenTransportHeader"),),
    "chromadb.base_types": (
        *_FILTER_TYPES,
        *_SPARSE,
        ("vermilion.compat.types", "ArrayContainsOperator MetadataListValue"),
    ),
    "chromadb.config": (
        ("vermilion.api.settings", "APIVersion LEGACY_ERROR Settings"),
        ("vermilion.compat.system", "System"),
        *_TENANCY,
    ),
    "chromadb.errors": (
        (
            "vermilion.errors",
            """
            AuthorizationError BatchSizeExceededError ChromaAuthError ChromaError DuplicateIDError
            IDAlreadyExistsError InternalError InvalidArgumentError InvalidDimensionException
            InvalidHTTPVersion InvalidUUIDError NotFoundError QuotaError RateLimitError
            UniqueConstraintError VersionMismatchError error_types
            """,
        ),
    ),
    "chromadb.execution": (),
    "chromadb.execution.expression": (*_SEARCH, ("vermilion.query.search", "Where")),
    "chromadb.execution.expression.operator": (*_SEARCH, ("vermilion.query.search", "Where")),
    "chromadb.execution.expression.plan": (("vermilion.query.search", "Search"),),
    # What Chroma has there is its own machinery; the paths can be imported.
    "chromadb.serde": (),
    "chromadb.telemetry": (),
    "chromadb.types": (
        ("vermilion.engine", "Collection=CollectionInfo"),
        *_FILTER_TYPES,
        *_RECORDED,
    ),
    "chromadb.utils": (),
    "chromadb.utils.batch_utils": (("vermilion.compat.batches", "create_batches"),),
    "chromadb.utils.data_loaders": (
        ("vermilion.compat.data_loaders", "ChromaLangchainPassthroughDataLoader ImageLoader"),
    ),
    "chromadb.utils.distance_functions": (("vermilion.compat.distance_functions", "cosine ip l2"),),
    "chromadb.utils.embedding_functions": (
        *_FUNCTION_MODULES.values(),
        (
            "vermilion.utils.embedding_functions",
            """
            DefaultEmbeddingFunction EmbeddingFunction SparseEmbeddingFunction
            config_to_embedding_function get_builtins known_embedding_functions
            register_embedding_function register_sparse_embedding_function
            sparse_known_embedding_functions
            """,
        ),
    ),
    "chromadb.utils.statistics": (
        (
            "vermilion.compat.functions",
            """
            attach_statistics_function detach_statistics_function get_statistics get_statistics_fn
            get_statistics_fn_name
            """,
        ),
    ),
    "chromadb.utils.results": (("vermilion.api.frames", "get_result_to_df query_result_to_dfs"),),
    **{
        f"chromadb.utils.embedding_functions.{module}": (names,)
        for module, names in _FUNCTION_MODULES.items()
    },
}

# ── installing ───────────────────────────────────────────────────────────────────────────────────

_ORIGIN = "vermilion"


def install_as_chromadb() -> None:
    """Makes `import chromadb` import Vermilion, in this process, for everybody.

    Call it first thing: before the program imports anything that imports chromadb. Twice is fine.
    Raises RuntimeError when the real chromadb is imported already.
    """
    there = sys.modules.get("chromadb")
    if there is not None:
        if _is_ours(there):
            return
        raise RuntimeError(
            f"chromadb is already imported, from {getattr(there, '__file__', there)}. "
            "Call vermilion.install_as_chromadb() before the first import of chromadb and of "
            "whatever imports it, for example at the top of the program's first module"
        )
    sys.modules.update(_modules())
    sys.meta_path.append(_Unknown())


def entries(path: str) -> dict[str, str]:
    """Their names in a module of theirs, and where ours are, as "module:attribute"."""
    found = {}
    for home, names in TABLE[path]:
        for name in names.split():
            theirs, _, ours = name.partition("=")
            found[theirs] = f"{home}:{ours or theirs}"
    return found


def _modules() -> dict[str, ModuleType]:
    """A module for each path; a package holds its modules as attributes."""
    modules = {path: _module(path) for path in TABLE}
    for path, module in modules.items():
        parent, _, name = path.rpartition(".")
        if parent:
            setattr(modules[parent], name, module)
    return modules


def _module(path: str) -> ModuleType:
    from pkgutil import resolve_name  # most programs that import vermilion never install

    module = ModuleType(path, f"Vermilion, under the name {path}.")
    is_package = any(other.startswith(f"{path}.") for other in TABLE)
    module.__spec__ = ModuleSpec(path, None, origin=_ORIGIN, is_package=is_package)
    if is_package:
        module.__path__ = []
    found = {name: resolve_name(home) for name, home in entries(path).items()}
    vars(module).update(found, __all__=sorted(found))  # without its modules, as in Chroma
    return module


def _is_ours(module: ModuleType) -> bool:
    return getattr(getattr(module, "__spec__", None), "origin", None) == _ORIGIN


class _Unknown:
    """Stands last in the line of finders, and says why a module of Chroma was not found."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises ModuleNotFoundError for what is below chromadb."""
        if name.startswith("chromadb."):
            raise ModuleNotFoundError(
                f"No module named {name!r}: Vermilion stands in for chromadb in this process and "
                "has no such module; vermilion.compat.paths.TABLE lists those it has",
                name=name,
            )
