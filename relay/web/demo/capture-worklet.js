/* Microphone side of the audio thread: brings the device's rate down to 16 kHz mono PCM16 and hands out
 * 40 ms chunks. It only converts and measures; whether a chunk is sent is decided on the main thread. */

const TARGET_RATE_HZ = 16000;
const CHUNK_SAMPLES = 640;
const STOP_BAND_DB = 70;
const TRANSITION = 0.15; // share of the lower Nyquist frequency that is given up for the filter's slope

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function besselI0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** Kaiser-windowed sinc low-pass, cut into one short filter per output phase (polyphase). */
function designFilter(inRate, outRate) {
  const divisor = greatestCommonDivisor(inRate, outRate);
  const phases = outRate / divisor;
  const nyquist = Math.min(inRate, outRate) / 2;
  const slope = (nyquist * TRANSITION) / inRate;
  const beta = 0.1102 * (STOP_BAND_DB - 8.7);
  const half = Math.ceil((STOP_BAND_DB - 8) / (2.285 * 2 * Math.PI * slope) / 2);
  const cutoff = (nyquist * (1 - TRANSITION / 2)) / inRate;
  const taps = 2 * half;
  const table = new Float32Array(phases * taps);
  for (let phase = 0; phase < phases; phase += 1) {
    let sum = 0;
    for (let tap = 0; tap < taps; tap += 1) {
      const distance = tap - half + 1 - phase / phases;
      const x = 2 * Math.PI * cutoff * distance;
      const inside = Math.max(0, 1 - (distance / half) ** 2);
      const value = (x === 0 ? 1 : Math.sin(x) / x) * besselI0(beta * Math.sqrt(inside));
      table[phase * taps + tap] = value;
      sum += value;
    }
    for (let tap = 0; tap < taps; tap += 1) table[phase * taps + tap] /= sum; // unity gain at 0 Hz
  }
  return { table, taps, phases, step: inRate / divisor };
}

/** Streaming resampler: push() takes blocks of any length and returns what is ready. */
class Resampler {
  constructor(inRate, outRate) {
    this.filter = inRate === outRate ? null : designFilter(Math.round(inRate), outRate);
    this.kept = new Float32Array((this.filter?.taps ?? 1) - 1);
    this.phase = 0;
    this.position = 0;
  }

  push(block, emit) {
    if (this.filter === null) {
      block.forEach(emit);
      return;
    }
    const { table, taps, phases, step } = this.filter;
    const input = new Float32Array(this.kept.length + block.length);
    input.set(this.kept);
    input.set(block, this.kept.length);
    let { position, phase } = this;
    while (position + taps <= input.length) {
      let sum = 0;
      const row = phase * taps;
      for (let tap = 0; tap < taps; tap += 1) sum += input[position + tap] * table[row + tap];
      emit(sum);
      phase += step;
      position += Math.floor(phase / phases);
      phase %= phases;
    }
    const used = Math.min(position, input.length);
    this.kept = input.slice(used);
    this.position = position - used;
    this.phase = phase;
  }
}

class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, TARGET_RATE_HZ);
    this.add = this.add.bind(this);
    this.begin();
  }

  begin() {
    this.chunk = new Int16Array(CHUNK_SAMPLES);
    this.filled = 0;
    this.sumOfSquares = 0;
    this.peak = 0;
  }

  add(sample) {
    const limited = Math.max(-1, Math.min(1, sample));
    this.chunk[this.filled] = Math.round(limited < 0 ? limited * 32768 : limited * 32767);
    this.sumOfSquares += limited * limited;
    this.peak = Math.max(this.peak, Math.abs(limited));
    this.filled += 1;
    if (this.filled < CHUNK_SAMPLES) return;
    const rms = Math.sqrt(this.sumOfSquares / CHUNK_SAMPLES);
    this.port.postMessage({ pcm: this.chunk.buffer, rms, peak: this.peak }, [this.chunk.buffer]);
    this.begin();
  }

  process(inputs) {
    const channels = inputs[0];
    if (channels.length === 0) return true;
    let mono = channels[0];
    if (channels.length > 1) {
      mono = mono.map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
    }
    this.resampler.push(mono, this.add);
    return true;
  }
}

registerProcessor("relay-capture", CaptureProcessor);
