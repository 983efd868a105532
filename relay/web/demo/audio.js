/* The two ends of the sound: Microphone (16 kHz PCM16 chunks out) and Player (24 kHz PCM16 chunks in).
 * Nothing here knows about WebSockets, the protocol or the page. */

const PLAYBACK_RATE_HZ = 24000;

/** Raised with a sentence for the person at the page when the microphone cannot be used. */
export class MicrophoneError extends Error {}

const MICROPHONE_ADVICE = {
  NotAllowedError: "The browser blocks the microphone for this page. Allow it beside the address bar, then press Unmute.",
  NotFoundError: "No microphone was found. Plug one in and press Unmute; until then, typing works.",
  NotReadableError: "Another program holds the microphone. Close it there, then press Unmute.",
  OverconstrainedError: "This microphone cannot deliver speech audio. Choose another one and press Unmute.",
};

async function askForMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new MicrophoneError("Browsers lend the microphone only to https and localhost pages. Typing works here.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    const advice = MICROPHONE_ADVICE[error.name] ?? `The microphone could not be opened (${error.name}).`;
    throw new MicrophoneError(advice);
  }
}

/** One open microphone; `onChunk({pcm, rms, peak})` is called every 40 ms, muted or not. */
export class Microphone {
  #stream;
  #context;

  static async open(onChunk, onLost) {
    const stream = await askForMicrophone();
    const microphone = new Microphone();
    microphone.#stream = stream;
    // The device's own rate: some browsers refuse a microphone in a context of another rate.
    microphone.#context = new AudioContext();
    await microphone.#context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(microphone.#context, "relay-capture", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => onChunk(data);
    microphone.#context.createMediaStreamSource(stream).connect(node);
    stream.getAudioTracks()[0].addEventListener("ended", onLost);
    microphone.wake();
    return microphone;
  }

  /** Browsers start a context only after a click or a key: call this from one. */
  wake() {
    this.#context.resume();
  }

  /** A muted track delivers silence, and the browser's own indicator says so. */
  set muted(muted) {
    for (const track of this.#stream.getAudioTracks()) track.enabled = !muted;
  }

  close() {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#context.close();
  }
}

function decodeBase64(text) {
  const standard = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(standard), (character) => character.charCodeAt(0));
}

function rateOf(mimeType) {
  const match = /rate=(\d+)/.exec(mimeType ?? "");
  return match ? Number(match[1]) : PLAYBACK_RATE_HZ;
}

function convertRate(samples, fromRate, toRate) {
  if (fromRate === toRate) return samples;
  const result = new Int16Array(Math.floor((samples.length * toRate) / fromRate));
  for (let i = 0; i < result.length; i += 1) {
    const position = (i * fromRate) / toRate;
    const left = Math.floor(position);
    const right = Math.min(left + 1, samples.length - 1);
    result[i] = samples[left] + (samples[right] - samples[left]) * (position - left);
  }
  return result;
}

/** Plays what it is given without gaps; `onLevel(rms)` about 23 times a second, `onFirst(turn, atMs)` once a turn. */
export class Player {
  #context;
  #node;
  #measured = { level: 0, queued: 0, totals: { samples: 0, sumOfSquares: 0, peak: 0, underruns: 0, dropped: 0 } };

  static async open({ onLevel, onFirst }) {
    const player = new Player();
    player.#context = new AudioContext({ sampleRate: PLAYBACK_RATE_HZ, latencyHint: "interactive" });
    await player.#context.audioWorklet.addModule(new URL("playback-worklet.js", import.meta.url));
    player.#node = new AudioWorkletNode(player.#context, "relay-playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    player.#node.port.onmessage = ({ data }) => {
      if ("first" in data) {
        onFirst(data.first, player.#heardAt(data.at));
      } else {
        player.#measured = data;
        onLevel(data.level);
      }
    };
    player.#node.connect(player.#context.destination);
    return player;
  }

  /** Browsers start a context only after a click or a key: call this from one. */
  wake() {
    this.#context.resume();
  }

  /** Whether the browser waits for a click or a key. */
  get asleep() {
    return this.#context.state === "suspended";
  }

  play(inlineData, turn) {
    const bytes = decodeBase64(inlineData.data);
    const samples = new Int16Array(bytes.buffer, 0, bytes.length >> 1);
    const ready = convertRate(samples, rateOf(inlineData.mimeType), this.#context.sampleRate);
    const pcm = ready.buffer.byteLength === ready.byteLength ? ready.buffer : ready.slice().buffer;
    this.#node.port.postMessage({ pcm, turn }, [pcm]);
  }

  /** No more audio will come in this turn: play what is queued, however short. */
  finish() {
    this.#node.port.postMessage({ end: true });
  }

  /** Barge-in: silence now. */
  drop() {
    this.#node.port.postMessage({ drop: true });
  }

  /** What the audio thread measured of its own output since the page was opened. */
  get measured() {
    const { samples, sumOfSquares, peak, underruns, dropped } = this.#measured.totals;
    const rate = this.#context.sampleRate;
    return {
      playedSeconds: samples / rate,
      queuedSeconds: this.#measured.queued / rate,
      droppedSeconds: dropped / rate,
      peak,
      rms: samples === 0 ? 0 : Math.sqrt(sumOfSquares / samples),
      underruns,
      contextState: this.#context.state,
      sampleRate: rate,
    };
  }

  #heardAt(contextTime) {
    const output = this.#context.getOutputTimestamp?.();
    if (output?.performanceTime > 0) return output.performanceTime + (contextTime - output.contextTime) * 1000;
    return performance.now() + (this.#context.outputLatency || this.#context.baseLatency || 0) * 1000;
  }
}
