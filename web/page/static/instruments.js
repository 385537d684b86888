// The pages of a channel, a generator, a thermocouple logger, and of any other instrument.

import { alarmList, concerns } from "./alarms.js";
import { lazy, parametersOf, roles } from "./crate.js";
import { h, mark, say } from "./dom.js";
import { historyPanel } from "./history.js";
import { put, reading, setter } from "./put.js";
import { addressOf, rack } from "./rack.js";
import { bitsOf, isKnown } from "./status.js";
import { pointTable } from "./table.js";

const panel = (title, ...children) => h("section", { class: "panel" }, h("h2", { text: title }), ...children);

const alarmsOf = (scope, prefix, whole = prefix) =>
  panel("Alarms", alarmList(scope, { only: (each) => concerns(each, prefix, whole) }));

const fact = (scope, label, name, className = "") =>
  h("div", {}, h("dt", { text: label }), h("dd", {}, reading(scope, name, className)));

/** A channel with all its parameters and its history. */
export function channel(scope, instrument, slot, number) {
  const board = instrument.boards.find((each) => each.name === slot);
  const prefix = `${instrument.prefix}${slot}:${number}:`;
  const has = new Set(parametersOf(board, number));
  const { v, i } = roles(board, number);
  const parameters = [...has].filter((each) => !each.startsWith("Status:") && each !== "Status");
  const at = board.channels.indexOf(number);
  const neighbour = (step, text) => {
    const other = board.channels[at + step];
    return other ? h("a", { href: addressOf(instrument.name, slot, other), text, class: "button", title: other }) : null;
  };
  return h("div", { class: "channel-page" },
    h("div", { class: "title" },
      h("h1", {},
        h("a", { href: addressOf(instrument.name), text: instrument.name }), " / ",
        h("a", { href: addressOf(instrument.name, slot), text: slot }), ` / ${number}`),
      has.has("Name") ? reading(scope, `${prefix}Name_RBV`, "name") : null,
      h("span", { class: "choice" }, neighbour(-1, "‹"), neighbour(1, "›"))),
    h("div", { class: "columns" },
      panel("Now",
        h("div", { class: "big" }, v ? reading(scope, prefix + v) : null, i ? reading(scope, prefix + i) : null),
        has.has("Pw") ? h("div", { class: "power" }, h("span", { text: "Power" }), setter(scope, `${prefix}Pw`, "Power"),
          has.has("Pw:OffPending") ? pending(scope, `${prefix}Pw:OffPending`, "off") : null) : null,
        bitChips(scope, prefix, bitsOf([...has]))),
      alarmsOf(scope, prefix, instrument.prefix)),
    historyPanel(scope, [v, i].filter(Boolean).map((each) => prefix + each)),
    panel("Parameters", pointTable(scope, prefix, parameters)));
}

/** Return the bits that are set, in words; those that are not are told in the title. */
function bitChips(scope, prefix, bits) {
  const place = h("p", { class: "chips", "aria-label": "status" });
  for (const bit of bits) {
    const chip = h("span", { class: "chip", text: rack.words[bit] ?? bit, title: `${prefix}Status:${bit}` });
    scope.watch(`${prefix}Status:${bit}`, (pv) => {
      const unknown = pv.severity === "INVALID" || pv.severity === "UNDEFINED" || pv.severity === undefined;
      mark(chip, "set", unknown ? "unknown" : pv.value ? "yes" : "no");
      mark(chip, "severity", pv.severity ?? "");
    });
    place.append(chip);
  }
  return place;
}

/** Return a chip that tells that what makes things safe waits for its instrument, or that this is not known: no words that say "sent" then. */
function pending(scope, name, what) {
  const chip = h("span", { class: "chip pending", title: name });
  scope.watch(name, (pv) => {
    const known = isKnown(pv);
    say(chip, known ? `${what}: sent, not shown yet` : `${what}: whether it waits is not known`);
    mark(chip, "set", !known ? "unknown" : pv.value ? "yes" : "no");
    mark(chip, "severity", pv.severity ?? "");
  });
  return chip;
}

/** The generator: output, interlock, fault, watchdog, and what is set. */
function generator(scope, { name, prefix, points }) {
  const off = h("button", { class: "off", text: "HV off", "data-pv": `${prefix}HV` });
  off.addEventListener("click", (event) => put(`${prefix}HV`, 0, "Off", event));
  const me = () => {
    off.disabled = Boolean(rack.me.refusal);
    off.title = rack.me.refusal;
  };
  rack.addEventListener("me", me);
  scope.atEnd(() => rack.removeEventListener("me", me));
  me();
  return h("div", {},
    h("div", { class: "title" }, h("h1", { text: name }), reading(scope, `${prefix}Conn`)),
    h("div", { class: "columns" },
      panel("Output",
        h("div", { class: "big" }, reading(scope, `${prefix}VMon`), reading(scope, `${prefix}IMon`)),
        h("dl", { class: "facts" },
          fact(scope, "high voltage", `${prefix}HV_RBV`, "strong"),
          fact(scope, "polarity", `${prefix}Polarity`),
          fact(scope, "regulates", `${prefix}Regulation`)),
        h("p", { class: "chips" },
          pending(scope, `${prefix}HV:OffPending`, "HV off"),
          pending(scope, `${prefix}Inhibit:OnPending`, "inhibit"),
          pending(scope, `${prefix}Mode:LocalPending`, "local"))),
      panel("Settings",
        h("table", { class: "points" }, h("tbody", {},
          settingRow(scope, "voltage", `${prefix}VSet`), settingRow(scope, "current", `${prefix}ISet`),
          settingRow(scope, "mode", `${prefix}Mode`), settingRow(scope, "inhibit", `${prefix}Inhibit`),
          settingRow(scope, "high voltage", `${prefix}HV`))),
        h("p", {}, off)),
      panel("Safety",
        h("dl", { class: "facts" },
          fact(scope, "interlock", `${prefix}Interlock`, "strong"), fact(scope, "fault", `${prefix}Fault`, "strong"),
          fact(scope, "mode", `${prefix}Mode_RBV`), fact(scope, "inhibit", `${prefix}Inhibit_RBV`),
          fact(scope, "watchdog, least time left", `${prefix}WD:Margin`), fact(scope, "watchdog strikes", `${prefix}WD:Strikes`)),
        fault(scope, `${prefix}Fault`))),
    alarmsOf(scope, prefix),
    historyPanel(scope, [`${prefix}VMon`, `${prefix}IMon`]),
    lazy(scope, "All values", (inner) => pointTable(inner, prefix, points, { search: true })));
}

/** Say what to do while there is a fault. */
function fault(scope, name) {
  const note = h("p", { class: "note", hidden: true,
    text: "Fault: find the cause first. It can be reset only with the button HV off on the front panel of the generator." });
  scope.watch(name, (pv) => (note.hidden = !(pv.severity !== "UNDEFINED" && pv.value)));
  return note;
}

function settingRow(scope, label, name) {
  return h("tr", {}, h("th", { text: label, scope: "row", title: name }),
    h("td", {}, reading(scope, `${name}_RBV`)), h("td", { class: "control" }, setter(scope, name, label)));
}

/** The thermocouples with their curve. */
function thermocouples(scope, { name, prefix, points }) {
  const channels = ["T1", "T2", "T3", "T4"].filter((each) => points.includes(each));
  return h("div", {},
    h("div", { class: "title" }, h("h1", { text: name }), reading(scope, `${prefix}Conn`)),
    h("div", { class: "columns" }, ...channels.map((each) =>
      panel(each,
        h("div", { class: "big" }, reading(scope, prefix + each)),
        h("dl", { class: "facts" }, fact(scope, "mean", `${prefix}${each}:Mean`), fact(scope, "plug", `${prefix}${each}:Open`))))),
    alarmsOf(scope, prefix),
    historyPanel(scope, channels.map((each) => prefix + each)),
    lazy(scope, "All values", (inner) => pointTable(inner, prefix, points, { search: true })));
}

// What the IOC tells programs: texts of any length.
const LISTS = new Set(["PVList", "SafeList", "Instruments"]);

/** Any instrument: its points. */
function anything(scope, { name, prefix, points }) {
  return h("div", {},
    h("div", { class: "title" }, h("h1", { text: name })),
    alarmsOf(scope, prefix),
    panel("Values", pointTable(scope, prefix, points.filter((each) => !LISTS.has(each)), { search: true })));
}

const PAGES = { technix: generator, se521: thermocouples };

export const instrumentPage = (scope, instrument) => (PAGES[instrument.kind] ?? anything)(scope, instrument);

