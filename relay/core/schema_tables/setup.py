"""The setup message: everything a session is configured with, save content and tools."""

TABLE = """
Setup
    string                      model
    GenerationConfig            generationConfig
    Content                     systemInstruction
    Tool[]                      tools
    RealtimeInputConfig         realtimeInputConfig
    SessionResumption           sessionResumption
    ContextWindowCompression    contextWindowCompression
    AudioTranscription          inputAudioTranscription outputAudioTranscription
    Proactivity                 proactivity
    HistoryConfig               historyConfig
    AvatarConfig                avatarConfig
    SafetySetting[]             safetySettings
    bool                        explicitVadSignal
    string{}                    labels

GenerationConfig
    Modality[]                  responseModalities
    SpeechConfig                speechConfig
    ThinkingConfig              thinkingConfig
    TranslationConfig           translationConfig
    TranslationConfig           streamTranslationConfig  # its name from SDK 2.3 to 2.7
    AudioTranscription          audioTranscriptionConfig
    MediaResolution             mediaResolution
    ImageConfig                 imageConfig
    ModelConfig                 modelConfig modelSelectionConfig  # Vertex AI's name, then the SDK's own
    int32                       candidateCount maxOutputTokens seed
    int32                       topK  # a float on Vertex AI; whole numbers do for both
    float                       temperature topP presencePenalty frequencyPenalty
    bool                        enableAffectiveDialog enableEnhancedCivicAnswers
    # Known, though Live does not support them:
    ResponseFormat[]            responseFormat
    RoutingConfig               routingConfig
    Schema                      responseSchema
    Value                       responseJsonSchema responseJsonSchemaOrdered
    string                      responseMimeType
    string[]                    stopSequences
    bool                        responseLogprobs audioTimestamp
    int32                       logprobs

SpeechConfig
    VoiceConfig                 voiceConfig
    MultiSpeakerVoiceConfig     multiSpeakerVoiceConfig
    string                      languageCode

VoiceConfig
    PrebuiltVoiceConfig         prebuiltVoiceConfig
    ReplicatedVoiceConfig       replicatedVoiceConfig
    string                      voice

PrebuiltVoiceConfig
    string                      voiceName

ReplicatedVoiceConfig
    string                      mimeType
    bytes                       voiceSampleAudio consentAudio
    VoiceConsentSignature       voiceConsentSignature

VoiceConsentSignature
    string                      signature

MultiSpeakerVoiceConfig
    SpeakerVoiceConfig[]        speakerVoiceConfigs

SpeakerVoiceConfig
    string                      speaker
    VoiceConfig                 voiceConfig

ThinkingConfig
    bool                        includeThoughts
    int32                       thinkingBudget
    ThinkingLevel               thinkingLevel

TranslationConfig
    string                      targetLanguageCode
    bool                        echoTargetLanguage

AudioTranscription
    string[]                    languageCodes customVocabulary adaptationPhrases
    bool                        wordTimestamp diarization
    TranscriptionMode           mode
    string                      sourceText
    LanguageAuto                languageAuto
    LanguageHints               languageHints

LanguageAuto

LanguageHints
    string[]                    languageCodes

ImageConfig
    string                      aspectRatio imageSize
    PersonGeneration            personGeneration
    ProminentPeople             prominentPeople
    ImageOutputOptions          imageOutputOptions

ImageOutputOptions
    string                      mimeType
    int32                       compressionQuality

ModelConfig
    FeaturePreference           featureSelectionPreference

RoutingConfig
    AutoRouting                 autoMode
    ManualRouting               manualMode

AutoRouting
    RoutingPreference           modelRoutingPreference

ManualRouting
    string                      modelName

ResponseFormat
    AudioFormat                 audio
    ImageFormat                 image
    TextFormat                  text
    VideoFormat                 video

AudioFormat
    string                      mimeType
    Delivery                    delivery
    int32                       bitRate sampleRate

ImageFormat
    string                      mimeType
    Delivery                    delivery
    AspectRatio                 aspectRatio
    ImageSize                   imageSize

TextFormat
    string                      mimeType
    Value                       schema

VideoFormat
    Delivery                    delivery
    AspectRatio                 aspectRatio
    Duration                    duration
    string                      gcsUri resolution

RealtimeInputConfig
    AutomaticActivityDetection  automaticActivityDetection
    ActivityHandling            activityHandling
    TurnCoverage                turnCoverage
    bool                        interimTranscriptTimestampEnabled

AutomaticActivityDetection
    bool                        disabled
    StartSensitivity            startOfSpeechSensitivity
    EndSensitivity              endOfSpeechSensitivity
    int32                       prefixPaddingMs silenceDurationMs

SessionResumption
    string                      handle
    bool                        transparent

ContextWindowCompression
    int64                       triggerTokens
    SlidingWindow               slidingWindow

SlidingWindow
    int64                       targetTokens

Proactivity
    bool                        proactiveAudio proactiveVideo

HistoryConfig
    bool                        initialHistoryInClientContent

AvatarConfig
    string                      avatarName
    CustomizedAvatar            customizedAvatar
    int32                       audioBitrateBps videoBitrateBps

CustomizedAvatar
    string                      imageMimeType
    bytes                       imageData

SafetySetting
    HarmCategory                category
    HarmBlockMethod             method
    HarmBlockThreshold          threshold
"""
