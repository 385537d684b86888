// A crate: its boards, and all channels in one view.

import { alarmList, concerns } from "./alarms.js";
import { h, mark, say } from "./dom.js";
import { reading } from "./put.js";
import { pointTable } from "./table.js";
import { addressOf, rack } from "./rack.js";
import { bitsOf, isKnown, watchStatus } from "./status.js";
import { SEVERITIES, alarmText, number, standIn, unitOf } from "./words.js";

const VIEWS = { cards: "Cards", map: "Map" };

export function crate(scope, instrument, slot) {
  const { name, prefix } = instrument;
  const boards = slot ? instrument.boards.filter((each) => each.name === slot) : instrument.boards;
  const count = boards.reduce((sum, board) => sum + board.channels.length, 0);
  const place = h("div", { class: "channels", id: "channels" });
  let kind = slot ? "cards" : localStorage.getItem("channels") ?? (count > 200 ? "map" : "cards");
  const buttons = Object.entries(VIEWS).map(([key, text]) =>
    h("button", { text, "data-view": key, onclick: () => { localStorage.setItem("channels", key); show(key); } }));
  let shown = null;
  const show = (wanted) => {
    kind = wanted;
    shown?.end();
    shown = scope.child();
    place.className = `channels ${kind}`;
    place.replaceChildren(...boards.map((board) => boardOf(shown, instrument, board, kind)));
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.view === kind);
  };
  show(kind);
  place.addEventListener("keydown", (event) => move(event, place));
  const own = slot ? boards[0]?.points.filter((each) => !each.includes(":") || each.startsWith("BdStatus:")) ?? [] : instrument.points;
  const ownPrefix = slot ? `${prefix}${slot}:` : prefix;
  return h("div", { class: "crate" },
    h("div", { class: "title" },
      h("h1", {}, slot ? h("a", { href: addressOf(name), text: name }) : name, slot ? ` / ${slot}` : ""),
      h("span", { class: "muted", text: `${boards.length} board${boards.length === 1 ? "" : "s"}, ${count} channels` }),
      h("span", { class: "choice", role: "group", "aria-label": "how channels are shown" }, ...buttons)),
    h("details", { class: "panel", open: rack.alarms.some((each) => each.instrument === name) },
      h("summary", { text: "Alarms" }),
      // more would push the channels, which show them too, out of sight
      alarmList(scope, { only: (each) => concerns(each, ownPrefix, prefix), most: 12 })),
    place,
    lazy(scope, slot ? "Board" : "Crate: system, commands, connection", (inner) => pointTable(inner, ownPrefix, own, { search: true })));
}

/** Return something that is made when it is opened: what is not seen costs nothing. */
export function lazy(scope, title, make) {
  const details = h("details", { class: "panel" }, h("summary", { text: title }));
  let made = null;
  details.addEventListener("toggle", () => {
    if (details.open && !made) details.append((made = make(scope)));
  });
  return details;
}

function boardOf(scope, instrument, board, kind) {
  const prefix = `${instrument.prefix}${board.name}:`;
  const state = h("span", { class: "badge" });
  const point = board.points.find((each) => each === "AlarmState") ?? "Alarm";
  scope.watch(prefix + point, (pv) => {
    say(state, alarmText(pv));
    mark(state, "severity", pv.severity ?? "");
  });
  const make = kind === "map" ? tileOf : cardOf;
  const grid = h("div", { class: "grid" }, ...board.channels.map((channel) => make(scope, instrument, board, channel)));
  return h("section", { class: "board", "aria-label": `board ${board.name}` },
    h("h2", {}, h("a", { href: addressOf(instrument.name, board.name), text: board.name }), " ",
      reading(scope, `${prefix}Model`, "muted"), state), grid);
}

const RANK = (pv) => SEVERITIES[pv?.severity]?.rank ?? 0;

/** Return the worst severity of some PVs. */
const worstOf = (pvs) => pvs.reduce((worst, pv) => (RANK(pv) > RANK(worst) ? pv : worst), pvs[0])?.severity ?? "";

/** Return the parameters that a channel has. */
export function parametersOf(board, channel) {
  const missing = new Set(board.missing);
  return board.parameters.filter((each) => !missing.has(`${channel}:${each}`));
}

/** Return the parameters with the voltage and the current of a channel, as they are measured, and the voltage set. */
export function roles(board, channel) {
  const there = new Set(parametersOf(board, channel));
  const first = (...names) => names.find((each) => there.has(each));
  return { v: first("VMon"), i: first("IMon", "IMonH", "IMonL"), set: first("V0Set_RBV", "VSet_RBV", "V0Set", "VSet") };
}

/** Return what shows points of a channel: its element is as severe as the worst of them, and says whether it is on. */
function watched(scope, element, sign, prefix) {
  const known = {};
  const note = (point, pv) => {
    known[point] = pv;
    const severity = worstOf(Object.values(known));
    mark(element, "severity", severity);
    say(sign, SEVERITIES[severity]?.sign ?? "");
  };
  const show = (point, place, text) => {
    if (!point) return;
    scope.watch(prefix + point, (pv) => {
      say(place, text(pv));
      mark(place, "severity", pv.severity ?? "");
      note(point, pv);
    });
  };
  const showStatus = (parameters, act) => {
    if (!parameters.includes("Status")) return;
    watchStatus(scope, prefix, bitsOf(parameters), (pv, words) => {
      act(words);
      note("Status", pv);
      mark(element, "on", isKnown(pv) ? String(pv.value & 1) : "");
    });
  };
  return { show, showStatus };
}

function cardOf(scope, instrument, board, channel) {
  const prefix = `${instrument.prefix}${board.name}:${channel}:`;
  const { v, i, set } = roles(board, channel);
  const parameters = parametersOf(board, channel);
  const title = h("span", { class: "name", text: channel });
  const sign = h("b", { class: "sign" });
  const volt = h("span", { class: "v" });
  const ampere = h("span", { class: "i" });
  const setting = h("span", { class: "set" });
  const status = h("span", { class: "status" });
  const element = h("a", { class: "channel", href: addressOf(instrument.name, board.name, channel), title: prefix.slice(0, -1) },
    title, sign, volt, ampere, setting, status);
  const { show, showStatus } = watched(scope, element, sign, prefix);
  show(v, volt, (pv) => short(pv));
  show(i, ampere, (pv) => short(pv));
  show(set, setting, (pv) => `set ${short(pv)}`);
  showStatus(parameters, (words) => say(status, words));
  if (board.parameters.includes("Name")) {
    scope.watch(`${prefix}Name_RBV`, (pv) => say(title, pv.text && pv.text !== "Disconnected" ? `${channel} ${pv.text}` : channel));
  }
  return element;
}

function tileOf(scope, instrument, board, channel) {
  const prefix = `${instrument.prefix}${board.name}:${channel}:`;
  const { v, i } = roles(board, channel);
  const parameters = parametersOf(board, channel);
  const volt = h("span", { class: "v" });
  const ampere = h("span", { class: "i" });
  const sign = h("b", { class: "sign" });
  const element = h("a", { class: "tile-channel", href: addressOf(instrument.name, board.name, channel) },
    h("span", { class: "name", text: channel.slice(1) }), sign, volt, ampere);
  const { show, showStatus } = watched(scope, element, sign, prefix);
  show(v, volt, (pv) => short(pv, true));
  show(i, ampere, (pv) => short(pv, true));
  showStatus(parameters, (words) => (element.title = `${prefix.slice(0, -1)}: ${words}`));
  return element;
}

function short(pv, bare = false) {
  const sign = standIn(pv);
  if (sign) return sign;
  const digits = bare && Math.abs(pv.value) >= 100 ? 0 : pv.precision;
  const text = number(pv.value, bare ? Math.min(digits ?? 1, 2) : digits);
  return bare || !pv.units ? text : `${text} ${unitOf(pv)}`;
}

/** Move between channels with the arrow keys. */
function move(event, place) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const rows = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step && !rows) return;
  const all = [...place.querySelectorAll("a.channel, a.tile-channel")];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  event.preventDefault();
  if (step) return void all[Math.min(all.length - 1, Math.max(0, at + step))].focus();
  const here = all[at].getBoundingClientRect();
  const others = all.filter((each) => {
    const { top, left } = each.getBoundingClientRect();
    return (rows > 0 ? top > here.top + 2 : top < here.top - 2) && Math.abs(left - here.left) < here.width / 2;
  });
  others.at(rows > 0 ? 0 : -1)?.focus();
}
