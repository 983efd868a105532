"""Content: what is said, heard, seen and answered, in turns, instructions and tool responses."""

TABLE = """
Content
    string                      role
    Part[]                      parts

Part
    string                      text
    bool                        thought
    bytes                       thoughtSignature
    Blob                        inlineData
    FileData                    fileData
    FunctionCall                functionCall
    FunctionResponse            functionResponse
    HostedToolCall              toolCall
    HostedToolResponse          toolResponse
    ExecutableCode              executableCode
    CodeExecutionResult         codeExecutionResult
    Transcription               audioTranscription
    MediaProcessing             mediaProcessing
    PartMediaResolution         mediaResolution
    VideoMetadata               videoMetadata
    AudioMetadata               audioMetadata
    SpeechMetadata              speechMetadata
    DocumentMetadata            documentMetadata
    SpreadsheetMetadata         spreadsheetMetadata
    Struct                      partMetadata

Blob
    string                      mimeType displayName
    bytes                       data

FileData
    string                      mimeType fileUri displayName

FunctionCall
    string                      id name
    Struct                      args
    PartialArg[]                partialArgs
    bool                        willContinue

PartialArg
    string                      jsonPath stringValue
    bool                        boolValue willContinue
    float                       numberValue
    NullValue                   nullValue

FunctionResponse
    string                      id name
    Struct                      response
    FunctionResponsePart[]      parts
    Scheduling                  scheduling
    bool                        willContinue

FunctionResponsePart
    Blob                        inlineData
    FileData                    fileData
    MediaProcessing             mediaProcessing
    PartMediaResolution         mediaResolution
    VideoMetadata               videoMetadata
    AudioMetadata               audioMetadata
    DocumentMetadata            documentMetadata
    SpreadsheetMetadata         spreadsheetMetadata

HostedToolCall
    string                      id
    HostedTool                  toolType
    Struct                      args

HostedToolResponse
    string                      id
    HostedTool                  toolType
    Struct                      response

ExecutableCode
    string                      id code
    Language                    language

CodeExecutionResult
    string                      id output
    Outcome                     outcome

Transcription
    string                      text languageCode speakerLabel
    bool                        finished
    Word[]                      words
    Duration                    startOffset endOffset

Word
    string                      word
    Duration                    startOffset endOffset

PartMediaResolution
    PartResolutionLevel         level
    int32                       numTokens

VideoMetadata
    Duration                    startOffset endOffset
    float                       fps
    VideoLayer[]                contentLayers

AudioMetadata
    Duration                    startOffset endOffset

SpeechMetadata
    string                      speaker style

DocumentMetadata
    int32                       startPage endPage
    DocumentLayer[]             contentLayers

SpreadsheetMetadata
    string                      visibleCells
    int32                       sheetIndex
    SpreadsheetLayer[]          contentLayers
"""
