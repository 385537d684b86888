// How values, alarms and times are written.

import { now } from "./time.js";

// A letter and a shape besides the colour.
export const SEVERITIES = {
  NONE: { rank: 0, sign: "", word: "" },
  MINOR: { rank: 1, sign: "▲", word: "MINOR" },
  MAJOR: { rank: 2, sign: "◆", word: "MAJOR" },
  INVALID: { rank: 3, sign: "✖", word: "INVALID" },
  UNDEFINED: { rank: 4, sign: "?", word: "not connected" },
};
/** Return the sign and the words (`word`, or what is usual) of the alarm of a PV; nothing without one, … while nothing was told of it. */
export function alarmText(pv, word = SEVERITIES[pv.severity]?.word) {
  if (pv.severity === undefined) return "…";
  return pv.severity === "NONE" ? "" : `${SEVERITIES[pv.severity].sign} ${word}`;
}
export const BY_NUMBER = ["NONE", "MINOR", "MAJOR", "INVALID"];

/** Return the severity of a PV; "" while nothing has come. */
export const severity = (pv) => pv.severity ?? "";

/** Return whether a PV tells that it has no number: what is left of another type says nothing of a text or an array. */
const isUnknown = (pv) => pv.value === "NaN" && pv.text === undefined && elements(pv) === undefined;

/** Return the sign that stands for a value that has not been told, is not known, or is an empty text; "" where there is one. */
export function standIn(pv) {
  if (pv.severity === undefined) return "…";
  if (pv.severity === "UNDEFINED" || isUnknown(pv)) return "?";
  return pv.text === "" ? "–" : "";
}

/** Return the value of a PV without its unit, or what stands for it. */
export const value = (pv) =>
  standIn(pv) || (pv.text ?? elements(pv) ?? number(pv.value, pv.precision, pv.vtype === "VDouble" || pv.vtype === "VFloat"));

// The members that hold arrays, and their elements; how many of these are shown.
const ARRAYS = { b64dbl: Float64Array, b64flt: Float32Array, b64int: Int32Array, b64srt: Int16Array, b64byt: Int8Array };
const FIRST = 5;

/** Return the first elements of an array; undefined for what is none. */
function elements(pv) {
  const member = Object.keys(ARRAYS).find((each) => pv[each] !== undefined);
  if (!member) return undefined;
  const all = new ARRAYS[member](Uint8Array.from(atob(pv[member]), (each) => each.charCodeAt(0)).buffer);
  const shown = Array.from(all.slice(0, FIRST), (each) => number(each, pv.precision, member === "b64dbl" || member === "b64flt"));
  return [...shown, ...(all.length > FIRST ? ["…"] : [])].join(", ") || "–";
}

/** Return the unit of the value of a PV as it is printed: what is not known has none. */
export const unitOf = (pv) => (standIn(pv) === "?" ? "" : unit(pv.units));

/** Return a number with so many digits. */
export function number(value, precision, real = true) {
  if (value === undefined || value === null || value === "NaN") return "NaN";
  if (typeof value !== "number" || !real) return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 10 ** -((precision || 0) + 4))) {
    return value.toExponential(3);
  }
  return value.toFixed(precision ?? 3);
}

/** Return a number of which it is not known how many digits it has: as many as a single-precision one holds. */
export const digits = (value) => String(Number(value.toPrecision(7)));

/** Return a unit as it is printed. */
export const unit = (text) => (text || "").replace(/^u(?=[AVWsm]$)/, "µ").replace(/^C$/, "°C");

/** Return how long something has been so. */
export function since(seconds) {
  const age = Math.max(0, now() - seconds);
  if (age < 90) return `${Math.round(age)} s`;
  if (age < 5400) return `${Math.round(age / 60)} min`;
  if (age < 129600) return `${Math.round(age / 3600)} h`;
  return `${Math.round(age / 86400)} d`;
}

/** Return a time of day, with the day if it is another one. */
export function clock(seconds) {
  const time = new Date(seconds * 1000);
  const today = new Date(now() * 1000).toDateString() === time.toDateString();
  const hour = time.toLocaleTimeString([], { hour12: false });
  return today ? hour : `${time.toLocaleDateString()} ${hour}`;
}

/** Return a time with its day and zone, as it is understood later and elsewhere. */
export const stamp = (seconds) => new Date(seconds * 1000).toLocaleString("sv", { dateStyle: "short", timeStyle: "long" });

/** Return a text in which what stands in backticks is code. */
export function withCode(text) {
  const parts = document.createDocumentFragment();
  text.split("`").forEach((part, index) => {
    if (index % 2) {
      const code = document.createElement("code");
      code.textContent = part;
      parts.append(code);
    } else parts.append(part);
  });
  return parts;
}
