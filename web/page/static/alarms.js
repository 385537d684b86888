// What is in alarm: the worst first, since when, and what to do.

import { h, parts } from "./dom.js";
import { placeOf, rack } from "./rack.js";
import { SEVERITIES, clock, since, withCode } from "./words.js";

// What an alarm status says where the record has no sentence.
const STATUS = {
  UDF: "no value is known yet", READ: "it could not be read", WRITE: "a put was refused", COMM: "no communication",
  TIMEOUT: "no answer", HIHI: "far too high", HIGH: "too high", LOLO: "far too low", LOW: "too low", STATE: "this state is an alarm",
  DISCONNECTED: "the IOC does not answer for it", HWLIMIT: "beyond what can be measured", SOFT: "found by the program",
};

// What is said of alarms while the IOC has told none, or was not asked for them.
const UNKNOWN = { false: "Not known: the IOC does not answer.", null: "Not known yet." };

/** Return the list of alarms; `only` chooses some of them. */
export function alarmList(scope, { only = () => true, most = 200, none = "No alarms." } = {}) {
  const list = h("ol", { class: "alarms", "aria-label": "alarms" });
  let before = "";
  const show = () => {
    const found = group(rack.alarms.filter(only));
    const now = JSON.stringify([found, rack.connected]);
    if (now !== before) {
      before = now;
      const open = new Set([...list.querySelectorAll("[aria-expanded='true']")].map((each) => each.dataset.key));
      list.replaceChildren(...chosen(found, most).map((each) => entry(each, open)));
      if (found.length > most) list.append(h("li", { class: "muted", text: `and ${found.length - most} more` }));
      if (!found.length) list.append(h("li", { class: "none", text: rack.connected ? none : UNKNOWN[rack.connected] }));
    }
    for (const age of list.querySelectorAll("[data-since]")) age.textContent = ageText(age.dataset);
  };
  rack.addEventListener("alarms", show);
  scope.atEnd(() => rack.removeEventListener("alarms", show));
  scope.every(10000, show);
  return list;
}

/** Return whether an alarm is one of a part of an instrument: of its own, or that the instrument (`whole`) is away. */
export const concerns = (alarm, prefix, whole) => alarm.pv.startsWith(prefix) || alarm.pv === `${whole}Conn`;

const ageText = ({ since: begin, exact }) => (exact === "true" ? since(Number(begin)) : `≥ ${since(Number(begin))}`);

/** Put the alarms of one channel, or of a setting and its readback, into one entry: its worst one leads. */
export function group(alarms) {
  const groups = new Map();
  for (const alarm of alarms) {
    const key = alarm.pv.match(/^(.*:S\d\d+:C\d\d+):/)?.[1] ?? alarm.pv.replace(/_RBV$/, "");
    if (groups.has(key)) groups.get(key).push(alarm);
    else groups.set(key, [alarm]);
  }
  return [...groups].map(([key, members]) => ({ key, members }));
}

/** Return `most` of the entries, in their order: boards and instruments take turns, so that one that is gone hides no trip of another. */
export function chosen(entries, most) {
  const counts = new Map();
  const turns = new Map(entries.map((each) => {
    const part = each.key.slice(0, each.key.lastIndexOf(":"));
    counts.set(part, (counts.get(part) ?? 0) + 1);
    return [each, counts.get(part)];
  }));
  const shown = new Set([...entries].sort((one, other) => turns.get(one) - turns.get(other)).slice(0, most));
  return entries.filter((each) => shown.has(each));
}

let made = 0;

function entry({ key, members }, open) {
  const [worst] = members;
  const { sign, word } = SEVERITIES[worst.severity];
  const also = members.slice(1).map((each) => each.pv.slice(each.pv.lastIndexOf(":") + 1));
  const what = worst.message || (STATUS[worst.status] ?? worst.status);
  const name = members.some((each) => each.pv === key) ? key : worst.pv;
  const id = `advice-${++made}`;
  const button = h("button", { class: "more", "data-key": key, "aria-expanded": String(open.has(key)), "aria-controls": id, "aria-label": `what to do about ${name}` });
  const advice = h("div", { class: "advice", id, hidden: !open.has(key) },
    worst.cause ? paragraph("Cause", worst.cause) : null,
    worst.remedy ? paragraph("What to do", worst.remedy) : null,
    worst.others ? h("p", { class: "muted", text: `${worst.others} other values of it are not known meanwhile.` }) : null,
    also.length ? h("p", { class: "muted", text: `Also: ${also.join(", ")}` }) : null,
    h("p", {}, h("a", { href: `#/history?pv=${encodeURIComponent(worst.pv)}`, text: "History" })));
  const row = h("div", { class: "row" },
    h("span", { class: "badge", "data-severity": worst.severity }, h("b", { text: sign }), ` ${word}`),
    h("a", { href: placeOf(worst.pv), class: "pv" }, ...parts(name)),
    h("span", { class: "what", text: what }),
    h("span", { class: "age", "data-since": worst.since, "data-exact": String(worst.exact), title: `${worst.exact ? "since" : "at least since"} ${clock(worst.since)}` }),
    button);
  // the whole row is easier to hit than its button
  row.addEventListener("click", (event) => {
    if (event.target.closest("a")) return;
    advice.hidden = !advice.hidden;
    button.setAttribute("aria-expanded", String(!advice.hidden));
  });
  return h("li", { "data-severity": worst.severity }, row, advice);
}

const paragraph = (title, text) => {
  const element = h("p", {}, h("b", { text: `${title}: ` }));
  element.append(withCode(text));
  return element;
};

/** Return how many entries the list of all alarms has of each severity, the worst first. */
export function countText() {
  if (!rack.connected && !rack.alarms.length) return [{ name: "UNDEFINED", text: "?", title: "alarms not known" }];
  const counts = {};
  for (const { members: [{ severity }] } of group(rack.alarms)) counts[severity] = (counts[severity] || 0) + 1;
  return Object.entries(SEVERITIES).reverse().filter(([name]) => counts[name])
    .map(([name, { sign }]) => ({ name, text: `${sign} ${counts[name]}`, title: `${name}: ${counts[name]} in the list of alarms` }));
}
