// Fields and buttons with which values are put: the value that is read back, confirmation, the reason of a refusal.

import { ask, h, mark, say, toast } from "./dom.js";
import { live } from "./live.js";
import { rack } from "./rack.js";
import { standIn, unit, unitOf, value } from "./words.js";

// The newest put of each PV that has not ended: who clicks twice has not asked twice.
const underWay = new Map();
// Milliseconds after which it was asked for anew: somebody else may have put another value, and an Off must not be held back for long.
const TWICE = 1000;

/** Put a value that an event has asked for; ask first if the server says that it is dangerous. Return whether it was put. */
export async function put(name, wanted, shown, { timeStamp }) {
  const mine = { wanted, at: performance.now() };
  const newest = underWay.get(name);
  if (newest && newest.wanted === wanted && mine.at - newest.at < TWICE) return false;
  underWay.set(name, mine);
  try {
    return await carryOut(name, wanted, shown, timeStamp);
  } finally {
    if (underWay.get(name) === mine) underWay.delete(name);
  }
}

async function carryOut(name, wanted, shown, asked) {
  try {
    await live.put(name, wanted, asked);
  } catch (error) {
    if (!error.confirm) return refused(error);
    const yes = await ask(name, `${name}: ${shown}?`, `Please confirm: ${error.confirm}.`, shown);
    if (!yes) return false;
    try {
      await live.put(name, wanted, yes.timeStamp, true);
    } catch (again) {
      return refused(again);
    }
  }
  toast(`${name}: ${shown}`, "good");
  return true;
}

function refused(error) {
  toast(error.message);
  // the login may have ended: who is told to log in must find the button for that
  rack.dispatchEvent(new Event("refused"));
  return false;
}

/**
 * Return what is put for a state: its word, for by the time it arrives its number may be that of another one, as where a board was
 * exchanged. A word that is not the only one of its kind, or that may be written in another way than it was read, is no name of it.
 */
function named(labels, index) {
  const word = labels[index];
  const isName = /^[!-~]+( [!-~]+)*$/.test(word) && labels.indexOf(word) === labels.lastIndexOf(word);
  return isName ? word : index;
}

/** Keep a control usable only while its PV can be put by who is logged in. */
function guard(scope, pvName, control, stayOn = false) {
  let readonly = true;
  const look = () => {
    const reason = rack.me.refusal || (readonly ? "the IOC lets nobody put this" : "");
    control.disabled = Boolean(reason) && !stayOn;
    control.title = reason;
  };
  scope.watch(pvName, (pv) => {
    readonly = pv.readonly !== false;
    look();
  });
  rack.addEventListener("me", look);
  scope.atEnd(() => rack.removeEventListener("me", look));
}

/** Return whether the state of a PV is known now: the last one is not shown as if it held. */
const isKnown = (pv, labels) => pv.severity !== "UNDEFINED" && pv.severity !== "INVALID" && pv.value in labels;

/** Return a control for a PV that can be put, by its type, which is known when it is connected. */
export function setter(scope, name, label) {
  const place = h("span", { class: "setter" });
  let kind = "";
  scope.watch(name, (pv) => {
    if (!pv.vtype || kind === pv.vtype + (pv.labels || []).join()) return;
    kind = pv.vtype + (pv.labels || []).join();
    const made = pv.vtype === "VEnum" ? choice(scope, name, pv.labels, label) : entry(scope, name, pv, label);
    place.replaceChildren(made);
  });
  return place;
}

// 1,500: to some it is one and a half, to others fifteen hundred.
const THOUSANDS = /^[-+]?[1-9]\d{0,2},\d{3}$/;

/** Return the number that somebody typed, with a point or a comma; NaN if it is none, or not certainly one. */
function typedNumber(text) {
  const written = /^[-+]?[\d.,]+(e[-+]?\d+)?$/i.test(text) && !THOUSANDS.test(text);
  return written ? Number(text.replace(",", ".")) : NaN;
}

/** Return a field for a number or a text; it shows the setting until somebody types. */
function entry(scope, name, first, label) {
  const isText = first.vtype === "VString" || first.vtype === "VByteArray";
  const field = h("input", {
    type: "text", inputmode: isText ? "text" : "decimal", autocomplete: "off", spellcheck: "false",
    "aria-label": `${label || name}, new value`, "data-pv": name,
  });
  const send = h("button", { text: "Set", hidden: true });
  let shown = "";
  let sending = null;
  // whether somebody has typed: what is on its way to another value may be the setting for a while
  let edited = false;
  const typed = () => field.value !== shown;
  // who types on replaces what they see: a browser would append it, and 100, Enter, 200 be 100200
  const rest = (text) => {
    edited = false;
    if (field.value !== text) field.value = text;
    if (document.activeElement === field) field.select();
  };
  const look = () => {
    send.hidden = !typed();
    mark(field, "typed", typed() ? "yes" : "");
  };
  const act = async (event) => {
    const sent = field.value;
    if (!typed()) edited = false;
    if (!typed() || sent === sending) return;
    const text = sent.trim();
    const number = isText ? NaN : typedNumber(text);
    // the server puts it in no other unit: there may be one by now; but 0 is 0 in any
    const wanted = isText ? text : of && number ? `${number} ${of}` : number;
    if (!isText && !Number.isFinite(number)) {
      toast(THOUSANDS.test(text)
        ? `${name}: ${text} may be ${text.replace(",", ".")} or ${text.replace(",", "")}; write it without a comma`
        : `${name}: ${text || "nothing"} is no number`);
      return;
    }
    sending = sent;
    field.focus(); // the button goes when there is nothing more to send
    field.select();
    await put(name, wanted, `${label || "set"} ${text}${of ? ` ${unit(of)}` : ""}`, event);
    if (sending === sent) sending = null;
    // what was typed meanwhile is the next value
    if (field.value === sent) rest(shown);
    look();
  };
  field.addEventListener("input", () => {
    edited = true;
    look();
  });
  field.addEventListener("blur", () => {
    if (!typed()) edited = false;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") act(event);
    if (event.key === "Escape") {
      rest(shown);
      look();
    }
  });
  send.addEventListener("click", act);
  const units = h("span", { class: "unit" });
  let of = first.units;
  scope.watch(name, (pv) => {
    // what stands for a value is no text to type behind
    const sign = standIn(pv);
    const now = sign ? "" : value(pv);
    field.placeholder = sign;
    if (pv.units !== of) {
      // a number is not put in another unit than the one beside which it was typed
      if (typed() && field.value !== sending) toast(`${name}: its unit is ${unit(pv.units)} now; what was typed for ${unit(of)} was not put`);
      rest(now);
      of = pv.units;
    }
    if (!typed() && !edited && field.value !== now) rest(now);
    shown = now;
    say(units, unit(of));
    mark(field, "severity", pv.severity ?? "");
    look();
  });
  guard(scope, name, field);
  return h("span", { class: "entry" }, field, units, send);
}

/** Return a button for each state, or a list if there are many. */
function choice(scope, name, labels, label) {
  if (labels.length > 3) return list(scope, name, labels, label);
  // a command rests at its first state
  const states = labels[0] === "Idle" ? [1] : labels.map((_, index) => index);
  const buttons = states.map((index) => {
    const button = h("button", { text: labels[index], "data-pv": name, "data-state": labels[index] });
    button.addEventListener("click", (event) => put(name, named(labels, index), labels[index], event));
    guard(scope, name, button);
    return button;
  });
  const group = h("span", { class: "choice", role: "group", "aria-label": label || name }, ...buttons);
  scope.watch(name, (pv) => {
    const known = states.length > 1 && isKnown(pv, labels);
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", known && pv.value === states[place]));
    mark(group, "severity", pv.severity ?? "");
  });
  return group;
}

/** Return a list of states; what is chosen is put by a button, for the arrow keys choose each on their way. */
function list(scope, name, labels, label) {
  const field = h("select", { "aria-label": `${label || name}, new value`, "data-pv": name },
    ...labels.map((text, index) => h("option", { value: index, text })));
  const send = h("button", { text: "Set", hidden: true });
  // no state is chosen while none is known: a browser would choose the first
  let shown = "";
  field.selectedIndex = -1;
  const look = () => {
    send.hidden = field.value === shown;
    mark(field, "typed", field.value === shown ? "" : "yes");
  };
  const rest = () => {
    field.value = shown;
    look();
  };
  field.addEventListener("change", look);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") rest();
  });
  send.addEventListener("click", async (event) => {
    const sent = field.value;
    field.focus();
    await put(name, named(labels, Number(sent)), labels[sent], event);
    if (field.value === sent) rest();
  });
  scope.watch(name, (pv) => {
    const chosen = field.value !== shown;
    shown = isKnown(pv, labels) ? String(pv.value) : "";
    if (!chosen) field.value = shown;
    mark(field, "severity", pv.severity ?? "");
    look();
  });
  guard(scope, name, field);
  return h("span", { class: "entry" }, field, send);
}

/** Return the value of a PV with its unit, its colour and its sign. */
export function reading(scope, name, className = "") {
  const text = h("span", { class: "number" });
  const units = h("span", { class: "unit" });
  const element = h("span", { class: `reading ${className}`, title: name, "data-pv": name }, text, units);
  scope.watch(name, (pv) => {
    say(text, value(pv));
    say(units, unitOf(pv));
    mark(element, "severity", pv.severity ?? "");
    mark(element, "state", pv.text ?? "");
  });
  return element;
}
