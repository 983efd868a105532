/* Draws the line: the person's loudness above it, the answer's below it, newest at the right edge, with marks where
 * an answer was interrupted, where the line was gone, and where the relay moved the call. It draws what it is told. */

const STEP_MS = 50; // a little longer than both level reports, so that no column stays without one
const MOST_MISSED = 20;
const FALL_OFF = 0.6;
const BAR_PX = 2;
const PITCH_PX = 4;
const QUIETEST_DB = -52;
const SHORTEST_GAP = 3; // columns; a shorter one could not be seen
const LABEL_PX = 54;
const CALM_REDRAW_MS = 400; // for people who asked for less motion

function heightOf(rms) {
  if (rms <= 0) return 0;
  const share = 1 - (20 * Math.log10(rms)) / QUIETEST_DB;
  return Math.max(0, Math.min(1, share * 1.12));
}

export class Line {
  #canvas;
  #context;
  #columns = [];
  #now = { up: null, down: null, mark: null };
  #last = { up: 0, down: 0 };
  #gone = false;
  #live = false;
  #steppedAt = 0;
  #drawnAt = 0;
  #colours = {};
  #font = "";
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#readColours();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readColours());
    new ResizeObserver(() => this.#resize()).observe(canvas);
    const frame = (time) => {
      this.#step(time);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  set live(live) {
    this.#live = live;
    this.#steppedAt = performance.now();
    this.#drawnAt = 0;
  }

  up(rms) {
    this.#now.up = Math.max(this.#now.up, heightOf(rms));
  }

  down(rms) {
    this.#now.down = Math.max(this.#now.down, heightOf(rms));
  }

  /** Puts a mark at the newest column: "interrupted", "typed" or "moved". */
  mark(kind) {
    this.#now.mark = kind;
  }

  /** The call was without its line for the last `stallMs`: a gap as wide as that, or a ring for a planned move. */
  handover(stallMs, planned) {
    while (this.#columns.length < SHORTEST_GAP) this.#push();
    if (planned) {
      this.#columns.at(-1).mark = "moved";
      return;
    }
    const width = Math.min(this.#columns.length, Math.max(SHORTEST_GAP, Math.round(stallMs / STEP_MS)));
    const gap = this.#columns.slice(-width);
    for (const column of gap) column.gone = true;
    gap[width >> 1].label = `${Math.round(stallMs)} ms`;
    // An answer that the cut ended was interrupted by nobody: the gap says it.
    for (const column of this.#columns.slice(-width - 1)) if (column.mark === "interrupted") column.mark = null;
  }

  /** Whether this page itself is without its line now. */
  set gone(gone) {
    this.#gone = gone;
  }

  clear() {
    this.#gone = false;
    this.#columns = [];
    this.#drawnAt = 0;
  }

  #readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["you", "model", "wire", "danger", "ground"]) {
      this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    this.#font = `600 11px ${style.getPropertyValue("--sans").trim()}`;
    this.#drawnAt = 0;
  }

  #resize() {
    const { width, height } = this.#canvas.getBoundingClientRect();
    const scale = devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#draw();
  }

  #step(time) {
    const due = this.#live ? Math.floor((time - this.#steppedAt) / STEP_MS) : 0;
    if (due > 0) {
      this.#steppedAt += due * STEP_MS;
      for (let i = 0; i < Math.min(due, MOST_MISSED); i += 1) this.#push();
    }
    const pause = this.#calm.matches ? CALM_REDRAW_MS : STEP_MS;
    if (this.#drawnAt === 0 || (this.#live && time - this.#drawnAt >= pause)) {
      this.#draw();
      this.#drawnAt = time;
    }
  }

  #push() {
    const up = this.#now.up ?? this.#last.up * FALL_OFF;
    const down = this.#now.down ?? this.#last.down * FALL_OFF;
    this.#columns.push({ up, down, mark: this.#now.mark, gone: this.#gone, label: "" });
    this.#last = { up, down };
    this.#now = { up: null, down: null, mark: null };
    const room = Math.ceil(this.#canvas.clientWidth / PITCH_PX) + 2;
    if (this.#columns.length > room) this.#columns.splice(0, this.#columns.length - room);
  }

  #draw() {
    const pen = this.#context;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const middle = height / 2;
    pen.clearRect(0, 0, width, height);
    this.#rule(pen, width, middle);
    const reach = middle - 6;
    const placeOf = (index) => width - 14 - (this.#columns.length - index) * PITCH_PX;
    this.#columns.forEach((column, index) => {
      const x = placeOf(index);
      if (column.gone) this.#gap(pen, x, middle, this.#columns[index - 1]?.gone, this.#columns[index + 1]?.gone);
      this.#bar(pen, x, middle - 3, -column.up * reach, this.#colours.you);
      this.#bar(pen, x, middle + 3, column.down * reach, this.#colours.model);
    });
    let taken = Infinity;
    for (let index = this.#columns.length - 1; index >= 0; index -= 1) {
      const { mark, label } = this.#columns[index];
      if (mark) this.#mark(pen, placeOf(index), middle, mark);
      if (!label || placeOf(index) + LABEL_PX > taken) continue;
      this.#label(pen, placeOf(index), label);
      taken = placeOf(index);
    }
  }

  #rule(pen, width, middle) {
    pen.strokeStyle = this.#colours.wire;
    pen.lineWidth = 1.5;
    pen.setLineDash(this.#live ? [] : [2, 6]);
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(1, middle);
    pen.lineTo(width - 12, middle);
    pen.stroke();
    pen.setLineDash([]);
    pen.beginPath();
    pen.arc(width - 7, middle, 4.5, 0, 2 * Math.PI);
    pen.fillStyle = this.#live ? this.#colours.you : this.#colours.ground;
    pen.fill();
    pen.strokeStyle = this.#live ? this.#colours.you : this.#colours.wire;
    pen.stroke();
  }

  /** One column without a wire; its loose ends, where it is the first or the last of such columns. */
  #gap(pen, x, middle, before, after) {
    pen.fillStyle = this.#colours.ground;
    pen.fillRect(x - 1, middle - 2, PITCH_PX + 1, 4);
    pen.fillStyle = this.#colours.danger;
    if (!before) pen.fillRect(x - 2, middle - 7, 2, 14);
    if (!after) pen.fillRect(x + PITCH_PX - 1, middle - 7, 2, 14);
  }

  #label(pen, x, label) {
    pen.font = this.#font;
    pen.textAlign = "center";
    pen.textBaseline = "top";
    pen.fillStyle = this.#colours.danger;
    pen.fillText(label, x, 6);
  }

  #bar(pen, x, y, length, colour) {
    if (Math.abs(length) < 1) return;
    pen.fillStyle = colour;
    pen.beginPath();
    pen.roundRect(x, Math.min(y, y + length), BAR_PX, Math.abs(length), 1);
    pen.fill();
  }

  #mark(pen, x, middle, kind) {
    pen.fillStyle = kind === "interrupted" ? this.#colours.danger : this.#colours.you;
    pen.beginPath();
    if (kind === "interrupted") pen.rect(x, 4, 1.5, middle * 2 - 8);
    else if (kind === "moved") pen.arc(x + 1, middle, 4.5, 0, 2 * Math.PI);
    else pen.arc(x + 1, middle - 8, 3, 0, 2 * Math.PI);
    if (kind === "moved") this.#ring(pen);
    else pen.fill();
  }

  #ring(pen) {
    pen.fillStyle = this.#colours.ground;
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = this.#colours.you;
    pen.stroke();
  }
}
