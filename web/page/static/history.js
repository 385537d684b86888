// The history of PVs together: a plot with what is read at its cursor, and how it is saved.

import { h, mark, say, toast } from "./dom.js";
import { ELSEWHERE, Plot, lineOf } from "./plot.js";
import { get, rack } from "./rack.js";
import { now } from "./time.js";
import { BY_NUMBER, SEVERITIES, clock, digits, unit } from "./words.js";

const SPANS = { "10 min": 600, "1 h": 3600, "6 h": 21600, "24 h": 86400, "7 d": 604800, "30 d": 2592000, "1 y": 31536000 };
const AGAIN = 5000;
// Milliseconds after which it is told that an answer has not come: what is drawn is of before.
const SLOW = 1500;
const GIVEN_UP = 60000;

/** Return a plot of PVs, which follows the present until somebody moves it. */
export function historyPanel(scope, pvs, { span = 3600, whenChanged = () => {} } = {}) {
  if (!rack.archived) return h("section", { class: "panel" }, h("h2", { text: "History" }), h("p", { class: "muted", text: "There is none: this rack has no archive." }));
  const canvas = h("canvas", { class: "plot", tabindex: 0, role: "img", "aria-label": "history; arrow keys move it, + and - zoom, shift and arrow keys read it" });
  const legend = h("div", { class: "legend" });
  const note = h("p", { class: "muted" });
  const state = { pvs, begin: null, end: null, span, made: { curves: [] }, asked: -Infinity };
  const buttons = Object.entries(SPANS).map(([text, seconds]) => h("button", { text, "data-span": seconds, onclick: () => follow(seconds) }));
  const log = h("button", { text: "log", title: "Logarithmic axis", "aria-pressed": false });
  const plot = new Plot(canvas, { changed: (begin, end) => freeze(begin, end), read: (time) => tell(time) });
  scope.atEnd(() => {
    plot.close();
    asked += 1;
    ended.abort();
  });
  log.addEventListener("click", () => {
    plot.logarithmic = !plot.logarithmic;
    log.setAttribute("aria-pressed", plot.logarithmic);
    plot.draw();
    remark();
  });

  // what is said of the plot, and stays while the axis changes
  let said = "";
  const remark = (text = said) => {
    said = text;
    say(note, [plot.unseen(), said].filter(Boolean).join(" "));
  };
  const pressed = () => {
    for (const button of buttons) button.setAttribute("aria-pressed", state.begin === null && Number(button.dataset.span) === state.span);
  };
  const follow = (seconds) => {
    [state.begin, state.end, state.span] = [null, null, seconds];
    read();
  };
  const freeze = (begin, end) => {
    [state.begin, state.end] = [begin, end];
    read();
  };
  let asked = 0;
  let ended = new AbortController();
  const old = () => {
    remark("The archive has not answered yet: what is drawn is of before.");
    mark(element, "old", "yes");
  };
  const read = async () => {
    pressed();
    ended.abort();
    ended = new AbortController();
    const { signal } = ended;
    const mine = ++asked;
    state.asked = -Infinity;
    if (!state.pvs.length) return show({ begin: now() - state.span, end: now(), curves: [], left_out: [] });
    const query = new URLSearchParams(state.pvs.map((pv) => ["pv", pv]));
    const present = now();
    query.set("since", iso(state.begin ?? present - state.span));
    query.set("until", iso(state.end ?? present));
    query.set("points", Math.min(2000, Math.max(300, Math.round(canvas.clientWidth || 800))));
    const late = setTimeout(old, SLOW);
    signal.addEventListener("abort", () => clearTimeout(late));
    state.asked = performance.now();
    try {
      const made = await get(`/api/history?${query}`, signal, GIVEN_UP);
      if (mine === asked) show(made);
    } catch (error) {
      const window = { begin: state.begin ?? present - state.span, end: state.end ?? present };
      if (mine === asked && error.status < 500) show({ ...window, curves: [], left_out: [error.message] });
      else if (mine === asked) lose(window, error.message);
    } finally {
      clearTimeout(late);
      if (mine === asked) state.asked = -Infinity;
    }
  };
  // what was drawn stays, as old: that nothing is there is not known
  const lose = (window, reason) => {
    if (!plot.drag) plot.set({ ...window, curves: state.made.curves, answered: false });
    remark(reason);
    mark(element, "old", "yes");
  };
  const show = (made) => {
    state.made = made;
    mark(element, "old", "no");
    if (!plot.drag) plot.set({ begin: state.begin ?? made.begin, end: state.end ?? made.end, curves: made.curves });
    remark(made.left_out.join("; "));
    legend.replaceChildren(...made.curves.map((curve, index) => {
      const swatch = h("i");
      swatch.style.background = lineOf(index);
      return h("span", { class: "key" }, swatch, h("span", { text: curve.pv }), h("b", { "data-curve": index }));
    }));
    tell(plot.cursor);
  };
  const tell = (time) => {
    say(when, time === null ? "" : clock(time));
    for (const each of legend.querySelectorAll("[data-curve]")) each.textContent = reading(state.made.curves[each.dataset.curve], time);
  };
  const when = h("span", { class: "muted when" });
  const tools = h("div", { class: "plot-tools" },
    h("span", { class: "choice", role: "group", "aria-label": "time shown" }, ...buttons),
    h("span", { class: "choice", role: "group", "aria-label": "move" },
      h("button", { text: "◂", title: "Earlier", "aria-label": "earlier", onclick: () => plot.move(-1) }),
      h("button", { text: "▸", title: "Later", "aria-label": "later", onclick: () => plot.move(1) })), log,
    h("button", { text: "PNG", title: "Save the picture", onclick: () => plot.picture(note.textContent).toBlob((blob) => save(blob, "history.png")) }),
    h("button", { text: "CSV", title: "Save what is shown", onclick: () => save(new Blob([csv(state.made)], { type: "text/csv" }), "history.csv") }),
    when);
  const element = h("section", { class: "panel history" }, h("h2", { text: "History" }), tools, canvas, legend, note,
    h("p", { class: "muted hint", text: "Drag: zoom. Shift and drag, or ◂ ▸: move. Double click or tap: zoom out. Tap: read. Shaded: not known, or INVALID." }));
  scope.every(AGAIN, () => {
    // an answer that takes longer than that is waited for: to ask anew would be to see none
    const waits = performance.now() - state.asked < GIVEN_UP;
    if (state.begin === null && !document.hidden && !plot.drag && !waits) read();
  });
  element.setPvs = (names) => {
    state.pvs = names;
    whenChanged(names);
    read();
  };
  return element;
}

function reading(curve, time) {
  const at = time === null ? curve.times.length - 1 : Plot.at(curve, time);
  if (at < 0 || curve.severities[at] === ELSEWHERE) return " –";
  const severity = BY_NUMBER[curve.severities[at]];
  const value = curve.values[at];
  const text = value === null ? "not known" : curve.words.length ? (curve.words[value] ?? String(value)) : `${digits(value)} ${unit(curve.unit)}`;
  return ` ${text} ${value === null ? "" : SEVERITIES[severity].sign}`;
}

const iso = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").replace("Z", "");

function csv({ curves }) {
  const lines = ["time,pv,value,unit,severity"];
  for (const { pv, unit: units, words, times, values, severities } of curves) {
    times.forEach((time, index) => {
      if (severities[index] === ELSEWHERE) return;
      const value = values[index] === null ? "" : words[values[index]] ?? values[index];
      lines.push([new Date(time * 1000).toISOString(), pv, value, units, BY_NUMBER[severities[index]]].map(cell).join(","));
    });
  }
  return `${lines.join("\r\n")}\r\n`;
}

/** Return a cell; a text is never taken for a formula. */
const cell = (value) => {
  const text = typeof value === "string" && /^[=+@-]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** The page on which any PVs are chosen. */
export function historyPage(scope, asked) {
  const chosen = asked.slice(0, 20);
  const list = h("div", { class: "chips" });
  const found = h("ul", { class: "found", "aria-label": "PVs found", hidden: true });
  const field = h("input", { type: "search", placeholder: "add a PV: part of its name", "aria-label": "add a PV", id: "search" });
  const panel = historyPanel(scope, chosen, { whenChanged: remember });
  function remember(names) {
    history.replaceState(history.state, "", `#/history?${new URLSearchParams(names.map((pv) => ["pv", pv]))}`);
  }
  const change = () => {
    list.replaceChildren(...chosen.map((pv) => h("span", { class: "chip", "data-set": "yes" }, pv,
      h("button", { text: "×", "aria-label": `remove ${pv}`, onclick: (event) => remove(pv, event) }))));
    panel.setPvs?.([...chosen]);
  };
  // who presses keys goes on beside what is gone; a finger wants no keyboard
  const isByKey = (event) => event.detail === 0;
  const remove = (pv, event) => {
    const at = chosen.indexOf(pv);
    chosen.splice(at, 1);
    change();
    if (isByKey(event)) (list.children[Math.min(at, chosen.length - 1)]?.querySelector("button") ?? field).focus();
  };
  const add = (pv, event) => {
    if (isByKey(event)) field.focus();
    if (chosen.length >= 20) return toast("20 PVs at most in one plot");
    if (!chosen.includes(pv)) chosen.push(pv);
    field.value = "";
    found.hidden = true;
    change();
  };
  // whether Enter was pressed before the names had come: those that were found for another text are not meant
  let entered = false;
  const take = () => {
    entered = found.dataset.of !== field.value.trim();
    if (!entered) found.querySelector("button")?.click();
  };
  let waiting = 0;
  field.addEventListener("input", () => {
    entered = false;
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const part = field.value.trim();
      if (!part) return void (found.hidden = true);
      let none = rack.connected ? "no PV has this in its name" : "not known: the IOC does not answer";
      const names = await get(`/api/pvs?${new URLSearchParams({ glob: `*${anyCase(part)}*`, limit: 40 })}`).catch((error) => {
        none = error.message;
        return [];
      });
      if (part !== field.value.trim()) return;
      found.replaceChildren(...names.map((pv) => h("li", {}, h("button", { text: pv, onclick: (event) => add(pv, event) }))));
      found.dataset.of = part;
      if (!names.length) found.append(h("li", { class: "muted", text: none }));
      found.hidden = false;
      if (entered) take();
    }, 150);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") take();
  });
  const picker = h("div", { class: "picker" }, field, found);
  picker.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const all = [field, ...found.querySelectorAll("button")];
    if (event.key === "Escape") {
      found.hidden = true;
      field.focus();
    } else if (step && !found.hidden) {
      event.preventDefault();
      all[Math.min(all.length - 1, Math.max(0, all.indexOf(document.activeElement) + step))].focus();
    }
  });
  change();
  return h("div", {}, h("div", { class: "title" }, h("h1", { text: "History" })), picker, list, panel);
}

/** Return a glob that takes upper and lower case for the same. */
const anyCase = (text) => text.replaceAll("[", "[[]").replace(/[a-z]/gi, (letter) => `[${letter.toLowerCase()}${letter.toUpperCase()}]`);
