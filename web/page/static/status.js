// The status of a channel in words.

import { rack } from "./rack.js";

// Bits of a channel that is switched on and ramps: they have these numbers in every crate. All others are asked by
// name, for a number that one crate gives to a trip another one gives to something else, or to nothing.
const PLAIN = ["ON", "UP", "DOWN"];
const PLAIN_BITS = 2 ** PLAIN.length - 1;

const UNKNOWN = new Set([undefined, "UNDEFINED", "INVALID"]);

/** Return whether the state of a PV is known now. */
export const isKnown = (pv) => !UNKNOWN.has(pv?.severity);

/** Return the names of the bits that the status of a channel has. */
export const bitsOf = (parameters) =>
  parameters.filter((each) => each.startsWith("Status:")).map((each) => each.slice("Status:".length));

/** Return the words of a status. `told`: name of a bit -> its PV, of those that are asked for by name. */
export function statusWords(pv, bits, told) {
  if (pv.severity === undefined) return "…";
  if (!isKnown(pv)) return "not known";
  const word = pv.value >>> 0;
  const plain = PLAIN.filter((name, bit) => bits.includes(name) && (word >>> bit) & 1);
  const others = bits.filter((name) => !PLAIN.includes(name) && isKnown(told.get(name)) && told.get(name).value);
  const words = [...plain.filter((name) => name !== "ON"), ...others].map((name) => rack.words[name] ?? name);
  const waits = word > PLAIN_BITS && bits.some((name) => !PLAIN.includes(name) && !told.has(name));
  if (!waits && ones(word) > plain.length + others.length) words.push("another bit");
  if (words.length) return words.join(", ");
  if (waits) return "…";
  return bits.includes("ON") ? (plain.includes("ON") ? "on" : "off") : "–";
}

/** Call `shown(pv, words)` with the status of a channel and its words, now and with each change. */
export function watchStatus(scope, prefix, bits, shown) {
  const others = scope.child();
  const told = new Map();
  let status = {};
  let asked = false;
  const show = () => shown(status, statusWords(status, bits, told));
  scope.watch(`${prefix}Status`, (pv) => {
    status = pv;
    const wanted = isKnown(pv) && pv.value >>> 0 > PLAIN_BITS;
    if (wanted !== asked) {
      asked = wanted;
      others.end();
      told.clear();
      if (asked) {
        for (const name of bits.filter((each) => !PLAIN.includes(each))) {
          others.watch(`${prefix}Status:${name}`, (bit) => {
            if (bit.severity !== undefined) told.set(name, bit);
            show();
          });
        }
      }
    }
    show();
  });
}

/** Return how many bits of a number are set. */
function ones(word) {
  let count = 0;
  for (let rest = word >>> 0; rest; rest = (rest & (rest - 1)) >>> 0) count++;
  return count;
}
