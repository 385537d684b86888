// A plot of curves over time, on a canvas: each value holds until the next; what is not known is a gap.

import { now } from "./time.js";
import { BY_NUMBER, stamp, unit } from "./words.js";

// Okabe and Ito: apart for all kinds of colour blindness; dashes besides.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#777777"];
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
// Months and years are not all of one length; the last step is for any span.
const MONTH = 2629746;
const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 240];
// The severity of a break while the PV has another unit or other words, and is in a curve of its own.
export const ELSEWHERE = -1;
const LEFT = 64;
const RIGHT = 12;
const GAP = 26;
// Characters of a mark of an axis for which there is room.
const LONGEST = 9;
// The height of a mark, in which there is room for no other.
const TALL = 14;
// Of their size: numbers that differ by less do so by how they were reckoned, and there is nothing to mark between them.
const SAME = 1e-12;
// The height of a line of text in a picture that is saved.
const LINE = 18;

const colourOf = (index) => COLOURS[index % COLOURS.length];
const dashesOf = (index) => DASHES[Math.floor(index / COLOURS.length) % DASHES.length];

/** Return a background that looks as the line of a curve does. */
export function lineOf(index) {
  let at = 0;
  const parts = dashesOf(index).map((length, part) => `${part % 2 ? "transparent" : colourOf(index)} ${at}px ${(at += length)}px`);
  return parts.length ? `repeating-linear-gradient(90deg, ${parts.join()})` : colourOf(index);
}

/** Return the axes: curves of one unit, or of the same words, share one. */
function axesOf(curves) {
  const axes = new Map();
  curves.forEach((curve, index) => {
    const key = JSON.stringify([curve.unit, curve.words]);
    if (!axes.has(key)) axes.set(key, { unit: curve.unit, words: curve.words, curves: [] });
    axes.get(key).curves.push({ ...curve, index });
  });
  return [...axes.values()];
}

/** Return a text, cut where it would be wider. */
function fitted(pen, text, width) {
  let shown = text;
  for (let end = text.length - 1; end > 0 && pen.measureText(shown).width > width; end -= 1) shown = `${text.slice(0, end)}…`;
  return shown;
}

/** Return about `count` round numbers between two, and two at least: one alone tells no scale. */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return found.length > 1 || count > 9 ? found : ticks(low, high, Math.max(count, 1) * 2);
}

/** Return the step between the marks of a time axis (s) and the marks, round in the time zone of the browser, `most` about. */
export function moments(begin, end, most) {
  const span = end - begin;
  const found = [];
  const step = STEPS.find((each) => span / each <= most);
  if (step) {
    const offset = new Date(begin * 1000).getTimezoneOffset() * 60;
    // where clocks are changed an hour is left out, or comes twice: steps of hours and days are those of the clock
    const timeOf = (local) => (step > 3600 ? new Date(1970, 0, 1, 0, 0, local) / 1000 : local + offset);
    for (let local = Math.ceil((begin - offset) / step) * step; timeOf(local) <= end; local += step) {
      if (timeOf(local) >= begin) found.push(timeOf(local));
    }
    return { step, found };
  }
  const months = MONTHS.find((each) => span / MONTH / each <= most) ?? MONTHS.at(-1);
  const first = new Date(begin * 1000);
  for (let month = Math.ceil((first.getFullYear() * 12 + first.getMonth()) / months) * months; ; month += months) {
    const at = new Date(0, month - 1900 * 12, 1) / 1000;
    if (at > end) return { step: months * MONTH, found };
    if (at >= begin) found.push(at);
  }
}

/** Return a number as a mark of an axis: with the digits that tell it from the next one, which is a step away. */
export function tickText(number, step) {
  const digits = Math.min(15, Math.max(2, Math.ceil(Math.log10(Math.abs(number) / step)) + 1));
  const plain = String(Number(number.toPrecision(Math.max(6, digits))));
  const short = number.toExponential(digits - 1);
  const isSmall = number !== 0 && Math.abs(number) < 1e-3;
  return (isSmall || plain.length > LONGEST) && short.length <= LONGEST ? short : plain;
}

export class Plot {
  /** `changed(begin, end)` is called when somebody has zoomed or moved; `read(time)` while the cursor moves. */
  constructor(canvas, { changed, read }) {
    this.canvas = canvas;
    this.changed = changed;
    this.read = read;
    this.curves = [];
    this.begin = 0;
    this.end = 1;
    this.logarithmic = false;
    this.cursor = null;
    this.drag = null;
    this.answered = true;
    this.#listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(canvas);
  }

  close() {
    this.observer.disconnect();
  }

  /** Show curves; `answered`: whether they are all that there is to know. */
  set({ begin, end, curves, answered = true }) {
    Object.assign(this, { begin, end, curves, answered });
    this.draw();
  }

  /** Return the value in force of a curve at a time: its place in the list, -1 before the first. */
  static at(curve, time) {
    let [low, high] = [0, curve.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (curve.times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    }
    const style = getComputedStyle(canvas);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.ink = style.getPropertyValue("--ink").trim() || "#000";
    this.faint = style.getPropertyValue("--line").trim() || "#ccc";
    this.paper = style.getPropertyValue("--panel").trim() || "#fff";
    this.severity = BY_NUMBER.map((name) => style.getPropertyValue(`--${name.toLowerCase()}`).trim());
    pen.fillStyle = this.paper;
    pen.fillRect(0, 0, width, height);
    pen.font = `12px ${style.fontFamily}`;
    this.width = width - LEFT - RIGHT;
    const axes = axesOf(this.curves);
    const each = (height - GAP - 8) / Math.max(axes.length, 1);
    this.#times(pen, height);
    axes.forEach((axis, number) => this.#axis(pen, axis, 8 + number * each, each - 16));
    if (!axes.length) {
      pen.fillStyle = this.ink;
      pen.textAlign = "center";
      const text = this.answered ? "Nothing to show: choose PVs, or another time." : "Not known: the archive does not answer.";
      pen.fillText(text, width / 2, height / 2);
    }
    this.#overlay(pen, height);
  }

  /** Return what a logarithmic axis leaves out, in a sentence. */
  unseen() {
    const has = ({ words, values }) => !words.length && values.some((value) => value !== null && value <= 0);
    const found = this.logarithmic ? [...new Set(this.curves.filter(has).map(({ pv }) => pv))] : [];
    return found.length ? `The logarithmic axis has no place for 0 and below, which is not drawn: ${found.join(", ")}.` : "";
  }

  /** Return a picture of what is drawn that tells by itself when that was, what the curves are, and what else is to be known. */
  picture(remark) {
    const { canvas, curves } = this;
    const ratio = canvas.width / canvas.clientWidth;
    const made = document.createElement("canvas");
    const lines = 1 + curves.length + (remark ? 1 : 0);
    [made.width, made.height] = [canvas.width, canvas.height + Math.ceil((lines * LINE + 8) * ratio)];
    const pen = made.getContext("2d");
    pen.fillStyle = this.paper;
    pen.fillRect(0, 0, made.width, made.height);
    pen.drawImage(canvas, 0, 0);
    pen.setTransform(ratio, 0, 0, ratio, 0, canvas.height);
    pen.font = canvas.getContext("2d").font;
    pen.textBaseline = "middle";
    let y = LINE / 2;
    const write = (text, left) => {
      pen.fillStyle = this.ink;
      pen.fillText(text, left, y, canvas.clientWidth - left - RIGHT);
      y += LINE;
    };
    write(`${stamp(this.begin)} – ${stamp(this.end)}`, RIGHT);
    curves.forEach((curve, index) => {
      pencil(pen, index);
      pen.beginPath();
      pen.moveTo(RIGHT, y);
      pen.lineTo(LEFT - 6, y);
      pen.stroke();
      write(curve.unit ? `${curve.pv} [${unit(curve.unit)}]` : curve.pv, LEFT);
    });
    if (remark) write(remark, RIGHT);
    return made;
  }

  x(time) {
    return LEFT + ((time - this.begin) / (this.end - this.begin)) * this.width;
  }

  time(x) {
    return this.begin + ((x - LEFT) / this.width) * (this.end - this.begin);
  }

  #times(pen, height) {
    const span = this.end - this.begin;
    const { step, found } = moments(this.begin, this.end, Math.max(2, this.width / 110));
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const at of found) {
      const x = this.x(at);
      pen.strokeStyle = this.faint;
      pen.setLineDash([]);
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, 4);
      pen.lineTo(x, height - GAP);
      pen.stroke();
      pen.fillStyle = this.ink;
      const time = new Date(at * 1000);
      const clock = time.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: step < 60 ? "2-digit" : undefined });
      const day = time.toLocaleDateString([], { month: "short", day: "numeric", year: step >= MONTH ? "numeric" : undefined });
      pen.fillText(step >= 86400 ? day : span > 86400 ? `${day} ${clock}` : clock, x, height - GAP + 6);
    }
  }

  #axis(pen, axis, top, height) {
    const [low, high] = this.#range(axis);
    const log = this.logarithmic && !axis.words.length && high > 0;
    const scale = log ? Math.log10 : (value) => value;
    const [from, to] = [scale(low), scale(high)];
    const y = (value) => top + height - ((scale(value) - from) / (to - from)) * height;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    const marks = axis.words.length ? axis.words.map((_, index) => index) : log ? powers(low, high) : ticks(low, high, height / 40);
    // on a logarithmic axis each mark is another power, or far from the next one
    const step = (value) => (log ? value : marks[1] - marks[0] || high - low);
    let above = Infinity;
    for (const value of marks) {
      if (value < low || value > high || above - y(value) < TALL) continue;
      above = y(value);
      pen.strokeStyle = this.faint;
      pen.setLineDash([]);
      pen.beginPath();
      pen.moveTo(LEFT, y(value));
      pen.lineTo(LEFT + this.width, y(value));
      pen.stroke();
      pen.fillStyle = this.ink;
      const text = axis.words.length ? axis.words[value] : tickText(value, step(value));
      pen.fillText(fitted(pen, text, LEFT - 8), LEFT - 6, y(value));
    }
    pen.textAlign = "left";
    pen.fillText(unit(axis.unit), LEFT + 6, top + 8);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, top - 4, this.width, height + 8);
    pen.clip();
    for (const curve of axis.curves) this.#unknown(pen, curve, top, height);
    for (const curve of axis.curves) this.#curve(pen, curve, y, log);
    pen.restore();
  }

  /** Shade where a value is not known, or INVALID. */
  #unknown(pen, { times, values, severities }, top, height) {
    pen.fillStyle = this.severity[3];
    pen.globalAlpha = 0.14;
    const unknown = (at) => at < times.length && values[at] === null && severities[at] !== ELSEWHERE;
    for (let index = 0; index < times.length; index++) {
      if (!unknown(index)) continue;
      const begin = times[index];
      while (unknown(index)) index++;
      const end = index < times.length ? times[index] : this.end;
      const x = this.x(Math.max(begin, this.begin));
      pen.fillRect(x, top, Math.max(1.5, this.x(Math.min(end, this.end)) - x), height);
    }
    pen.globalAlpha = 1;
  }

  #curve(pen, { times, values, severities, index: number }, y, log) {
    pencil(pen, number);
    pen.beginPath();
    let down = false;
    let last = 0;
    for (let index = 0; index < times.length; index++) {
      const value = values[index];
      const x = this.x(times[index]);
      if (down) pen.lineTo(x, last);
      if (value === null || (log && value <= 0)) {
        down = false;
        continue;
      }
      last = y(value);
      if (down) pen.lineTo(x, last);
      else pen.moveTo(x, last);
      down = true;
    }
    pen.stroke();
    pen.setLineDash([]);
    for (let index = 0; index < times.length; index++) {
      const bad = severities[index];
      if (bad !== 1 && bad !== 2) continue;
      const value = values[index];
      if (value === null || (log && value <= 0)) continue;
      pen.fillStyle = this.severity[bad];
      const [x, at] = [this.x(times[index]), y(value)];
      pen.beginPath();
      if (bad === 1) pen.moveTo(x - 3.5, at + 3), pen.lineTo(x + 3.5, at + 3), pen.lineTo(x, at - 3.5);
      else pen.rect(x - 3, at - 3, 6, 6);
      pen.fill();
    }
  }

  #range(axis) {
    if (axis.words.length) return [-0.3, axis.words.length - 0.7];
    let [low, high] = [Infinity, -Infinity];
    for (const { values } of axis.curves) {
      for (const value of values) {
        if (value === null || (this.logarithmic && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) return this.logarithmic ? [0.1, 10] : [0, 1];
    if (this.logarithmic) return [low / 1.3, Math.max(high * 1.3, low * 1.01)];
    const size = Math.max(Math.abs(low), Math.abs(high));
    const room = high - low > SAME * size ? (high - low) * 0.08 : Math.max(size * 0.02, 0.5);
    return [low - room, high + room];
  }

  #overlay(pen, height) {
    if (this.drag?.zoom) {
      pen.fillStyle = this.ink;
      pen.globalAlpha = 0.12;
      const [from, to] = [this.drag.from, this.drag.to].sort((one, other) => one - other);
      pen.fillRect(from, 4, to - from, height - GAP - 4);
      pen.globalAlpha = 1;
    }
    if (this.cursor !== null && this.cursor >= this.begin && this.cursor <= this.end) {
      pen.strokeStyle = this.ink;
      pen.setLineDash([3, 3]);
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(this.x(this.cursor), 4);
      pen.lineTo(this.x(this.cursor), height - GAP);
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary) return this.#give(); // of two fingers neither shows where a zoom begins
      canvas.setPointerCapture(event.pointerId);
      const x = this.#inside(event.offsetX);
      this.drag = { zoom: !event.shiftKey, from: x, to: x, begin: this.begin, end: this.end };
      this.#point(this.time(x));
      this.draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.isPrimary) return;
      const x = this.#inside(event.offsetX);
      this.#point(this.time(x));
      if (this.drag) {
        this.drag.to = x;
        if (!this.drag.zoom) {
          const moved = ((this.drag.from - x) / this.width) * (this.drag.end - this.drag.begin);
          [this.begin, this.end] = [this.drag.begin + moved, this.drag.end + moved];
        }
      }
      this.draw();
    });
    canvas.addEventListener("pointerup", () => this.#drop());
    canvas.addEventListener("pointercancel", () => this.#give());
    canvas.addEventListener("pointerleave", (event) => {
      // a finger that is lifted leaves what it has pointed at to be read
      if (!this.drag && event.pointerType === "mouse") this.#point(null), this.draw();
    });
    canvas.addEventListener("dblclick", () => this.zoom(4));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.altKey) return; // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.4 : 1 / 1.4, this.time(this.#inside(event.offsetX)));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step && event.shiftKey) this.#step(step);
      else if (step) this.move(step);
      else if (event.key === "+") this.zoom(0.5);
      else if (event.key === "-") this.zoom(2);
      else return;
      event.preventDefault();
    });
  }

  #inside = (x) => Math.min(LEFT + this.width, Math.max(LEFT, x));

  #point(time) {
    this.cursor = time;
    this.read(time);
  }

  /** Read what is earlier (-1) or later (1) by a hundredth of the time that is shown. */
  #step(direction) {
    const at = (this.cursor ?? this.end) + (direction * (this.end - this.begin)) / 100;
    this.#point(Math.min(Math.max(at, this.begin), this.end));
    this.draw();
  }

  /** Give up what is dragged. */
  #give() {
    if (this.drag) [this.begin, this.end] = [this.drag.begin, this.drag.end];
    this.drag = null;
    this.draw();
  }

  #drop() {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    if (!drag.zoom) this.#go(this.begin, this.end);
    else if (Math.abs(drag.to - drag.from) > 5) {
      const [from, to] = [drag.from, drag.to].sort((one, other) => one - other);
      this.#go(this.time(from), this.time(to));
    } else this.draw();
  }

  /** Show so many times the time that is shown now, around a moment. */
  zoom(factor, around = (this.begin + this.end) / 2) {
    this.#go(around - (around - this.begin) * factor, around + (this.end - around) * factor);
  }

  /** Show what is earlier (-1) or later (1) by a quarter of the time that is shown. */
  move(direction) {
    const step = (direction * (this.end - this.begin)) / 4;
    this.#go(this.begin + step, this.end + step);
  }

  /** Show a time: a second at least, and nothing before 1970 or after now. */
  #go(begin, end) {
    const latest = now();
    const span = Math.min(Math.max(end - begin, 1), latest);
    const last = Math.min(Math.max(end, span), latest);
    [this.begin, this.end] = [last - span, last];
    this.draw();
    this.changed(this.begin, this.end);
  }
}

/** Take the colour and the dashes of a curve. */
function pencil(pen, index) {
  pen.strokeStyle = colourOf(index);
  pen.setLineDash(dashesOf(index));
  pen.lineWidth = 1.6;
}

function powers(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) found.push(10 ** power);
  return found.length > 1 ? found : ticks(low, high, 4).filter((each) => each > 0);
}
