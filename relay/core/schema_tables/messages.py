"""The envelope, of whose fields a message has exactly one, and the four messages that follow setup."""

TABLE = """
ClientMessage
    Setup                       setup
    ClientContent               clientContent
    RealtimeInput               realtimeInput
    ToolResponse                toolResponse
    ContextUpdate               contextUpdate

ClientContent
    Content[]                   turns
    bool                        turnComplete

RealtimeInput
    Blob                        audio video
    Blob[]                      mediaChunks
    string                      text
    bool                        audioStreamEnd
    ActivityStart               activityStart
    ActivityEnd                 activityEnd

ActivityStart

ActivityEnd

ToolResponse
    FunctionResponse[]          functionResponses

ContextUpdate
    Content                     systemInstruction
    ContextUpdateTools          tools

ContextUpdateTools
    Tool[]                      tools
"""
