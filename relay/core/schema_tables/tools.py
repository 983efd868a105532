"""Tools: what the model may call, ours or Google's, and how Google is to sign in to it."""

TABLE = """
Tool
    FunctionDeclaration[]       functionDeclarations
    GoogleSearch                googleSearch
    GoogleSearchRetrieval       googleSearchRetrieval
    GoogleMaps                  googleMaps
    EnterpriseWebSearch         enterpriseWebSearch
    ParallelAiSearch            parallelAiSearch
    ExaAiSearch                 exaAiSearch
    CodeExecution               codeExecution
    UrlContext                  urlContext
    ComputerUse                 computerUse
    FileSearch                  fileSearch
    Retrieval                   retrieval
    McpServer[]                 mcpServers

FunctionDeclaration
    string                      name description
    Behavior                    behavior
    Schema                      parameters response
    Value                       parametersJsonSchema responseJsonSchema

Schema
    SchemaType                  type
    string                      format title description pattern ref
    string[]                    enum required propertyOrdering
    bool                        nullable
    int64                       minItems maxItems minProperties maxProperties minLength maxLength
    float                       minimum maximum
    Value                       default example additionalProperties
    Schema                      items
    Schema[]                    anyOf
    Schema{}                    properties defs

GoogleSearch
    SearchTypes                 searchTypes
    PhishBlockThreshold         blockingConfidence
    string[]                    excludeDomains
    Interval                    timeRangeFilter

SearchTypes
    WebSearch                   webSearch
    ImageSearch                 imageSearch

WebSearch

ImageSearch

Interval
    Timestamp                   startTime endTime

GoogleSearchRetrieval
    DynamicRetrieval            dynamicRetrievalConfig

DynamicRetrieval
    DynamicRetrievalMode        mode
    float                       dynamicThreshold

GoogleMaps
    bool                        enableWidget
    AuthConfig                  authConfig
    MapsGrounding               groundingTypes

MapsGrounding
    MapsPlaces                  places
    MapsRouting                 routing

MapsPlaces

MapsRouting

EnterpriseWebSearch
    PhishBlockThreshold         blockingConfidence
    string[]                    excludeDomains

ParallelAiSearch
    string                      apiKey
    Struct                      customConfigs
    bool                        enableDataRetention enableZeroDataRetention

ExaAiSearch
    string                      apiKey
    Struct                      customConfigs

CodeExecution

UrlContext

ComputerUse
    Environment                 environment
    string[]                    excludedPredefinedFunctions
    bool                        enablePromptInjectionDetection
    SafetyPolicy[]              disabledSafetyPolicies

FileSearch
    string[]                    fileSearchStoreNames
    int32                       topK
    string                      metadataFilter
    FileSearchResource[]        retrievalResources    # the public proto's older form
    FileSearchRetrieval         retrievalConfig

FileSearchResource
    string                      ragStoreName

FileSearchRetrieval
    int32                       topK
    string                      metadataFilter

McpServer
    string                      name
    StreamableHttpTransport     streamableHttpTransport

StreamableHttpTransport
    string                      url
    string{}                    headers
    Duration                    timeout sseReadTimeout
    bool                        terminateOnClose

Retrieval
    VertexAiSearch              vertexAiSearch
    VertexRagStore              vertexRagStore
    ExternalApi                 externalApi
    bool                        disableAttribution

VertexAiSearch
    string                      datastore engine filter
    int32                       maxResults
    DataStoreSpec[]             dataStoreSpecs

DataStoreSpec
    string                      dataStore filter

VertexRagStore
    string[]                    ragCorpora
    RagResource[]               ragResources
    RagRetrieval                ragRetrievalConfig
    int32                       similarityTopK
    float                       vectorDistanceThreshold
    bool                        storeContext

RagResource
    string                      ragCorpus
    string[]                    ragFileIds

RagRetrieval
    int32                       topK
    RagFilter                   filter
    RagHybridSearch             hybridSearch
    RagRanking                  ranking

RagFilter
    string                      metadataFilter
    float                       vectorDistanceThreshold vectorSimilarityThreshold

RagHybridSearch
    float                       alpha

RagRanking
    Ranker                      rankService llmRanker

Ranker
    string                      modelName

ExternalApi
    string                      endpoint
    ApiSpec                     apiSpec
    ApiAuth                     apiAuth
    AuthConfig                  authConfig
    ElasticSearchParams         elasticSearchParams
    SimpleSearchParams          simpleSearchParams

ElasticSearchParams
    string                      index searchTemplate
    int32                       numHits

SimpleSearchParams

ApiAuth
    ApiKeySecret                apiKeyConfig

ApiKeySecret
    string                      apiKeySecretVersion apiKeyString

AuthConfig
    AuthType                    authType
    string                      apiKey
    ApiKeyConfig                apiKeyConfig
    HttpBasicAuth               httpBasicAuthConfig
    GoogleServiceAccount        googleServiceAccountConfig
    OauthConfig                 oauthConfig
    OidcConfig                  oidcConfig

ApiKeyConfig
    string                      name apiKeySecret apiKeyString
    HttpElementLocation         httpElementLocation

HttpBasicAuth
    string                      credentialSecret

GoogleServiceAccount
    string                      serviceAccount

OauthConfig
    string                      accessToken serviceAccount

OidcConfig
    string                      idToken serviceAccount
"""
