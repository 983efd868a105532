"""What one session used: plain integers, counted where a message is decided on, read by whoever reports."""

from dataclasses import dataclass, field

from relay.core.server_frames import ServerFrame, Usage


@dataclass(slots=True)
class Meter:
    """Running totals of one session."""

    frames_up: int = 0
    """Messages forwarded to Gemini."""
    frames_down: int = 0
    """Messages for the client, the relay's own among them."""
    bytes_up: int = 0
    """Payload bytes forwarded to Gemini."""
    bytes_down: int = 0
    """Payload bytes forwarded to the client."""
    audio_bytes_down: int = 0
    """Bytes of PCM that Gemini spoke."""
    frames_dropped_up: int = 0
    """Client messages that a new upstream leg was not told although Gemini's state may lack them."""
    frames_dropped_down: int = 0
    """Messages of Gemini's that a client missed while it was away."""
    turns: int = 0
    interruptions: int = 0
    tool_calls: int = 0
    tokens: Usage = field(default_factory=Usage)
    """Sum of every `usageMetadata`; Gemini bills the whole context anew in each turn, so the sum is what is billed."""
    first_input_at: float | None = None
    """When the client sent its first message after the setup, on the clock of `now`."""
    first_audio_at: float | None = None
    """When Gemini's first audio arrived, on the clock of `now`."""

    def count_up(self, payload_bytes: int, now: float) -> None:
        """One message went to Gemini."""
        self.frames_up += 1
        self.bytes_up += payload_bytes
        if self.first_input_at is None:
            self.first_input_at = now

    def count_down(self, payload_bytes: int) -> None:
        """One message went to the client, Gemini's or the relay's own."""
        self.frames_down += 1
        self.bytes_down += payload_bytes

    def read(self, frame: ServerFrame, now: float) -> None:
        """One message came from Gemini: what it says was used counts, whether the client gets to see it or not."""
        if frame.audio_bytes:
            self.audio_bytes_down += frame.audio_bytes
            if self.first_audio_at is None:
                self.first_audio_at = now
        self.turns += frame.turn_complete
        self.interruptions += frame.interrupted
        self.tool_calls += len(frame.call_ids)
        if frame.usage is not None:
            total, usage = self.tokens, frame.usage
            total.prompt += usage.prompt
            total.response += usage.response
            total.thoughts += usage.thoughts
            total.tool_use += usage.tool_use
            total.cached += usage.cached
