// The rack at a glance: what is in alarm, and each instrument in a few values.

import { alarmList, group } from "./alarms.js";
import { h, mark, say } from "./dom.js";
import { reading } from "./put.js";
import { addressOf, rack } from "./rack.js";
import { SEVERITIES, alarmText } from "./words.js";

export function overview(scope) {
  const tiles = rack.instruments.map((each) => tile(scope, each));
  return h("div", { class: "overview" },
    h("h1", { class: "unseen", text: "Rack" }),
    h("section", { class: "panel" }, h("h2", { text: "Alarms" }), alarmList(scope)),
    h("section", { class: "tiles", "aria-label": "Instruments at a glance" }, ...tiles));
}

function tile(scope, instrument) {
  const { name, kind, prefix } = instrument;
  const element = h("a", { class: "tile panel", href: addressOf(name) });
  const title = h("h3", { text: name });
  const state = h("span", { class: "badge" });
  element.append(h("header", {}, title, h("span", { class: "muted", text: KINDS[kind] ?? kind }), state));
  const health = kind === "ioc" ? "HEARTBEAT" : "Conn";
  scope.watch(prefix + health, (pv) => {
    say(state, alarmText(pv, pv.text));
    mark(state, "severity", pv.severity ?? "");
  });
  element.append((FACTS[kind] ?? none)(scope, instrument));
  const worst = h("p", { class: "worst" });
  const show = () => {
    const own = group(rack.alarms.filter((each) => each.instrument === name));
    const severity = own[0]?.members[0].severity ?? "NONE";
    mark(element, "severity", severity);
    say(worst, own.length ? `${SEVERITIES[severity].sign} ${own.length} in alarm` : rack.connected ? "no alarms" : "alarms not known");
  };
  rack.addEventListener("alarms", show);
  scope.atEnd(() => rack.removeEventListener("alarms", show));
  show();
  element.append(worst);
  return element;
}

const KINDS = { caen: "HV crate", technix: "HV generator", se521: "thermocouples", ioc: "IOC", archiver: "archiver" };

const none = () => h("div");

const facts = (scope, prefix, points) =>
  h("dl", {}, ...points.map(([label, point]) => h("div", {}, h("dt", { text: label }), h("dd", {}, reading(scope, prefix + point)))));

const FACTS = {
  caen: (scope, { prefix, boards }) => {
    const total = boards.reduce((sum, board) => sum + board.channels.length, 0);
    const on = h("dd", { text: "…" });
    const states = new Map();
    let due = false;
    const count = () => {
      due = false;
      const known = [...states.values()];
      const unknown = known.filter((each) => each === null).length;
      say(on, `${known.filter(Boolean).length} of ${total}${unknown ? `, ${unknown} not known` : ""}`);
    };
    for (const board of boards) {
      for (const channel of board.channels) {
        scope.watch(`${prefix}${board.name}:${channel}:Status`, (pv) => {
          states.set(pv.name, ["UNDEFINED", "INVALID", undefined].includes(pv.severity) ? null : pv.value & 1);
          if (!due) due = true, queueMicrotask(count);
        });
      }
    }
    const dots = h("div", { class: "boards" }, ...boards.map((board) => {
      const dot = h("span", { class: "dot", text: board.name, title: `board ${board.name}` });
      const point = board.points.find((each) => each === "AlarmState") ?? "Alarm";
      scope.watch(`${prefix}${board.name}:${point}`, (pv) => {
        mark(dot, "severity", pv.severity ?? "");
        say(dot, pv.severity === undefined ? `${board.name} …` : board.name);
      });
      return dot;
    }));
    return h("div", {}, h("dl", {}, h("div", {}, h("dt", { text: "channels on" }), on)), dots);
  },
  technix: (scope, { prefix }) =>
    facts(scope, prefix, [["HV", "HV_RBV"], ["V", "VMon"], ["I", "IMon"], ["interlock", "Interlock"], ["mode", "Mode_RBV"]]),
  se521: (scope, { prefix }) => facts(scope, prefix, ["T1", "T2", "T3", "T4"].map((name) => [name, name])),
  ioc: (scope, { prefix }) => facts(scope, prefix, [["up", "UPTIME"], ["CPU", "IOC_CPU_LOAD"], ["clients", "CA_CLNT_CNT"]]),
  archiver: (scope, { prefix }) =>
    facts(scope, prefix, [["database", "Database"], ["samples", "SamplesRate"], ["disk", "DaysLeft"]]),
};
