/* A read-only view of the page for tests and for the curious at the console: what it shows was measured, never set. */

export function readOnlyView(demo) {
  return Object.freeze({
    get state() {
      return demo.state;
    },
    get counters() {
      const { frames, bytes, tokens, turns, interruptions, toolCalls, skippedChunks } = demo.meters;
      return structuredClone({ frames, bytes, tokens, turns, interruptions, toolCalls, skippedChunks });
    },
    get continuity() {
      const { handovers, lastHandover, returns, lastReturn } = demo.meters;
      return structuredClone({ handovers, lastHandover, returns, lastReturn });
    },
    get latency() {
      const { firstAudioMs, firstSoundMs, medianAudioMs } = demo.meters;
      return { firstAudioMs, firstSoundMs, medianAudioMs };
    },
    get transcript() {
      return demo.transcript.entries;
    },
    get playback() {
      return demo.sound.measured;
    },
    get microphone() {
      return { state: demo.voice.state, ...demo.voice.input };
    },
  });
}
