/* Speaker side of the audio thread: plays PCM16 chunks back to back, drops them at once on barge-in, and measures
 * what it really put out. Times and counts are in samples of this context; the main thread turns them into words. */

const PREBUFFER_S = 0.06; // enough for two ordinary chunks, so that network jitter does not tear the first word
const LONGEST_WAIT_S = 0.12; // a very short answer must not wait for a prebuffer it will never fill
const LONGEST_QUEUE_S = 600;
const FADE_S = 0.006; // dropping a waveform in the middle clicks; this ramp does not
const REPORT_EVERY_BLOCKS = 8;

class PlaybackProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.offset = 0;
    this.queued = 0;
    this.playing = false;
    this.waited = 0;
    this.turn = 0;
    this.turnHeard = 0;
    this.turnEnded = true;
    this.starved = false;
    this.fade = null;
    this.totals = { samples: 0, sumOfSquares: 0, peak: 0, underruns: 0, dropped: 0 };
    this.recent = { samples: 0, sumOfSquares: 0, blocks: 0 };
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    if (message.pcm) this.enqueue(new Int16Array(message.pcm), message.turn);
    else if (message.end) this.turnEnded = true;
    else if (message.drop) this.drop();
  }

  enqueue(samples, turn) {
    if (this.queued + samples.length > LONGEST_QUEUE_S * sampleRate) {
      this.totals.dropped += samples.length;
      return;
    }
    if (this.starved && turn === this.turn) this.totals.underruns += 1;
    this.starved = false;
    this.turn = turn;
    this.turnEnded = false;
    this.queue.push({ samples, turn });
    this.queued += samples.length;
  }

  drop() {
    const length = Math.min(Math.round(FADE_S * sampleRate), this.playing ? this.queued : 0);
    const tail = new Float32Array(length);
    for (let i = 0; i < length; i += 1) tail[i] = this.next() * (1 - (i + 1) / length);
    this.totals.dropped += this.queued;
    this.queue = [];
    this.offset = 0;
    this.queued = 0;
    this.playing = false;
    this.starved = false;
    this.turnEnded = true;
    this.waited = 0;
    this.fade = length > 0 ? { tail, at: 0 } : null;
  }

  next() {
    const head = this.queue[0];
    const sample = head.samples[this.offset] / 32768;
    this.offset += 1;
    this.queued -= 1;
    if (this.offset === head.samples.length) {
      this.queue.shift();
      this.offset = 0;
    }
    return sample;
  }

  ready() {
    if (this.queued === 0) return false;
    if (this.playing) return true;
    this.waited += 128 / sampleRate;
    return this.turnEnded || this.queued >= PREBUFFER_S * sampleRate || this.waited >= LONGEST_WAIT_S;
  }

  announce(index) {
    const { turn } = this.queue[0];
    if (turn === this.turnHeard) return;
    this.turnHeard = turn;
    this.port.postMessage({ first: turn, at: currentTime + index / sampleRate });
  }

  fill(output) {
    let index = 0;
    while (this.fade && index < output.length) {
      output[index] = this.fade.tail[this.fade.at];
      this.fade.at += 1;
      index += 1;
      if (this.fade.at === this.fade.tail.length) this.fade = null;
    }
    if (!this.fade && this.ready()) {
      this.playing = true;
      this.waited = 0;
      for (; index < output.length && this.queued > 0; index += 1) {
        this.announce(index);
        output[index] = this.next();
      }
      if (this.queued === 0) {
        this.playing = false;
        this.starved = !this.turnEnded;
      }
    }
    return index;
  }

  measure(output, length) {
    for (let i = 0; i < length; i += 1) {
      const square = output[i] * output[i];
      this.totals.sumOfSquares += square;
      this.recent.sumOfSquares += square;
      this.totals.peak = Math.max(this.totals.peak, Math.abs(output[i]));
    }
    this.totals.samples += length;
    this.recent.samples += output.length;
    this.recent.blocks += 1;
    if (this.recent.blocks < REPORT_EVERY_BLOCKS) return;
    const level = Math.sqrt(this.recent.sumOfSquares / this.recent.samples);
    this.port.postMessage({ level, queued: this.queued, totals: this.totals });
    this.recent = { samples: 0, sumOfSquares: 0, blocks: 0 };
  }

  process(_inputs, outputs) {
    const channels = outputs[0];
    const length = this.fill(channels[0]);
    for (let i = 1; i < channels.length; i += 1) channels[i].set(channels[0]);
    this.measure(channels[0], length);
    return true;
  }
}

registerProcessor("relay-playback", PlaybackProcessor);
