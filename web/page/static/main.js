// The page: which view is shown, whether what it shows is true, who is logged in.

import { countText } from "./alarms.js";
import { crate } from "./crate.js";
import { Scope, h, mark, say, toast } from "./dom.js";
import { historyPage } from "./history.js";
import { channel, instrumentPage } from "./instruments.js";
import { live } from "./live.js";
import { overview } from "./overview.js";
import { addressOf, post, rack } from "./rack.js";
import { ago, moment, now } from "./time.js";
import { clock } from "./words.js";

const byId = (id) => document.getElementById(id);
const ALARMS = 2000;
const RACK = 10000;
const ME = 10000;
// Milliseconds without a beat of the IOC's heart, or without an answer of the web server, after which nothing that is shown counts as new.
const SILENT = 5000;
// Milliseconds after which the list of alarms is not the present one.
const OLD = 10000;

let scope = new Scope();
const beat = { of: "", end() {}, at: moment(), severity: undefined, value: undefined };

// What the view that is shown was made of.
let source = "";

/** Return what the address says. */
function place() {
  const [path, query] = location.hash.slice(1).split("?");
  const [, kind, name, slot, number] = path.split("/").map(decoded);
  return { kind, name, slot, number, query };
}

/** Show what the address says. */
function show() {
  const { kind, name, slot, number, query } = place();
  scope.end();
  scope = new Scope();
  source = sourceOf(kind, name);
  const main = byId("main");
  main.replaceChildren(view(kind, name, slot, number, new URLSearchParams(query)));
  point();
  document.title = [name, slot, number].filter(Boolean).join(" ") || (kind ? "History" : `${rack.prefix} rackioc`);
}

/** Return, as a text, what a view is made of. */
function sourceOf(kind, name) {
  const shown = { i: rack.instrument(name), history: [] }[kind] ?? rack.instruments;
  return JSON.stringify([shown, rack.archived, rack.words]);
}

/** Follow a change of the rack; a view of what has not changed stays, with what is typed and zoomed in it. */
function follow() {
  navigation();
  point();
  watchBeat();
  const { kind, name } = place();
  if (sourceOf(kind, name) === source) return;
  if (document.querySelector("#main [data-typed=yes]")) toast("What was typed was not put: what is shown here has changed.");
  show();
}

/** Mark in the menu which view is shown. */
function point() {
  const { kind, name } = place();
  const nav = byId("nav");
  for (const link of nav.children) {
    if (link.dataset.name === (kind === "i" ? name : (kind ?? ""))) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // on a phone the menu is a row that is wider than the window
  const here = nav.querySelector("[aria-current]");
  if (here) nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
}

/** Return a part of an address; one that somebody has mistyped as it is. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Show another address: from its top, or where it was left; the keyboard goes on from there. */
function turn(event) {
  const { top } = history.state ?? {};
  const from = new URL(event.oldURL).hash;
  show();
  const main = byId("main");
  if (top === undefined) history.replaceState({ top: 0 }, "");
  // who goes back was on a link to where they come from
  const link = top !== undefined && [...main.querySelectorAll("a")].find((each) => each.getAttribute("href") === from);
  (link || main).focus({ preventScroll: true });
  scrollTo(0, top ?? 0);
  if (link) link.scrollIntoView({ block: "nearest" });
}

/** Remember in the browser's history how far a page was scrolled. */
function places() {
  history.scrollRestoration = "manual";
  history.replaceState({ top: history.state?.top ?? 0 }, "");
  let waiting = 0;
  document.addEventListener("scroll", () => {
    clearTimeout(waiting);
    const { hash } = location;
    waiting = setTimeout(() => {
      if (hash === location.hash) history.replaceState({ top: scrollY }, "");
    }, 100);
  });
}

function view(kind, name, slot, number, query) {
  if (!rack.me.may_see) return h("h1", { class: "panel", text: "Log in to see this rack." });
  if (kind === "history") return historyPage(scope, query.getAll("pv"));
  if (kind !== "i") return overview(scope);
  const instrument = rack.instrument(name);
  const board = instrument?.boards.find((each) => each.name === slot);
  if (!instrument || (slot && !board) || (number && !board.channels.includes(number))) {
    return h("h1", { class: "panel", text: `There is no ${[name, slot, number].filter(Boolean).join(" / ")} now. It may come when its instrument answers.` });
  }
  if (number) return channel(scope, instrument, slot, number);
  return instrument.kind === "caen" ? crate(scope, instrument, slot) : instrumentPage(scope, instrument);
}

function navigation() {
  say(byId("brand"), rack.prefix.replace(/:$/, "") || "rackioc");
  byId("nav").replaceChildren(
    h("a", { href: "#/", text: "Rack", "data-name": "" }),
    ...rack.instruments.map(({ name }) => h("a", { href: addressOf(name), text: name, "data-name": name })),
    h("a", { href: "#/history", text: "History", "data-name": "history" }),
  );
}

/** Say as soon as what is shown is older than it should be. */
function truth() {
  const banner = byId("banner");
  const text = trouble();
  banner.hidden = !text;
  say(banner, text);
  mark(document.body, "stale", text ? "yes" : "no");
  say(byId("live"), text ? "✖ not live" : rack.me.may_see ? "● live" : "");
  mark(byId("live"), "severity", text ? "MAJOR" : "NONE");
}

function trouble() {
  if (!rack.me.may_see) return "";
  if (!live.connected) {
    return live.lost
      ? `No connection to the web server since ${clock(live.lost)}: what is shown is of then. The IOC and the instruments may go on; it connects again by itself.`
      : "No connection to the web server yet.";
  }
  if (beat.severity === "UNDEFINED") return `The IOC does not answer since ${timeOf(beat.at)}: nothing of this rack is known now.`;
  if (!document.hidden && ago(rack.alarmsRead) > OLD) return `The web server does not tell the alarms: those shown are of ${timeOf(rack.alarmsRead)}.`;
  if (ago(beat.at) > SILENT) return `No news from the IOC since ${timeOf(beat.at)}: what is shown may be old.`;
  if (!document.hidden && ago(live.told) > SILENT) return `The network to the web server is slow: what is shown may be more than ${SILENT / 1000} s old.`;
  return "";
}

/** Return the time of day of a moment. */
const timeOf = (at) => clock(now() - ago(at) / 1000);

/** Follow the heart of the IOC, which is known when somebody may see the rack. */
function watchBeat() {
  const heart = rack.instruments.find((each) => each.kind === "ioc")?.prefix ?? "";
  if (heart === beat.of) return;
  beat.end();
  Object.assign(beat, { of: heart, end() {}, at: moment(), severity: undefined, value: undefined });
  if (!heart) return;
  beat.end = live.watch(`${heart}HEARTBEAT`, (pv) => {
    if (pv.severity === undefined) return;
    // not when it is drawn: a page that nobody looked at draws late; and a value that is told again is no beat
    if (pv.severity !== "UNDEFINED" && pv.value !== beat.value) Object.assign(beat, { at: pv.heard, value: pv.value });
    beat.severity = pv.severity;
    truth();
  });
}

let counted = "";

function counts() {
  const found = countText();
  // a reader of screens says them again each time
  if (JSON.stringify(found) === counted) return;
  counted = JSON.stringify(found);
  byId("counts").replaceChildren(...found.map(({ name, text, title }) => h("span", { class: "badge", "data-severity": name, text, title })));
  byId("brand").dataset.severity = found[0]?.name ?? "NONE";
}

function who() {
  const { name, refusal, logins } = rack.me;
  const button = byId("who");
  button.hidden = !logins;
  say(button, name ? `${name} ▾` : "Log in");
  button.title = name ? `Log out${refusal ? ` (${refusal})` : ""}` : "Log in to put values";
}

/** Find out who is logged in: it may have changed in another window, or by itself; who is not any more is told. */
async function renew() {
  const before = JSON.stringify(rack.me);
  await rack.readMe();
  if (JSON.stringify(rack.me) === before) return;
  const { name, may_see: could } = JSON.parse(before);
  if (name && !rack.me.name) toast(`${name} is logged out: nothing can be put from this page until somebody logs in`);
  // what the web socket may is that of who has opened it
  live.reopen();
  await Promise.allSettled([rack.read(), rack.readAlarms()]);
  if (rack.me.may_see !== could) show();
  truth();
}

async function logout() {
  const failed = await post("/api/logout", {}).catch((error) => error);
  await renew().catch(() => {});
  // a session that had ended by itself cannot be ended, but who wanted that is logged out
  if (failed && rack.me.name) toast(failed.message);
}

function login() {
  if (rack.me.name) return void logout();
  const note = h("p", { class: "refused", role: "alert" });
  const name = h("input", { name: "name", autocomplete: "username", required: true, id: "name" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, id: "password" });
  const dialog = h("dialog", { class: "login" });
  const ended = new AbortController();
  const form = h("form", { method: "dialog" }, h("h2", { text: "Log in" }),
    h("label", {}, "Name", name), h("label", {}, "Password", password), note,
    h("div", { class: "buttons" }, h("button", { type: "button", text: "Cancel", onclick: () => dialog.close() }), h("button", { type: "submit", text: "Log in", id: "login" })));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await post("/api/login", { name: name.value, password: password.value }, ended.signal);
      dialog.close();
      await renew();
    } catch (error) {
      say(note, error.message);
      password.select();
    }
  });
  dialog.append(form);
  dialog.addEventListener("close", () => {
    ended.abort(); // who has given up is not logged in later
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function appearance() {
  const root = document.documentElement;
  const sizes = ["1", "1.4", "2"];
  const set = () => {
    root.dataset.theme = localStorage.getItem("theme") ?? "";
    root.dataset.size = localStorage.getItem("size") ?? "1";
  };
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    localStorage.setItem("theme", dark ? "light" : "dark");
    set();
    window.dispatchEvent(new Event("resize"));
  });
  byId("size").addEventListener("click", () => {
    localStorage.setItem("size", sizes[(sizes.indexOf(root.dataset.size) + 1) % sizes.length]);
    set();
  });
  set();
}

function keys() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  // a key that is held is one press, of a button and of what it asks: a browser presses it again and again
  window.addEventListener("keydown", (event) => {
    if (!event.repeat || event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      const field = document.querySelector("#main input[type=search]");
      if (field) field.focus();
      else location.hash = "#/history";
      event.preventDefault();
    } else if (/^[0-9]$/.test(event.key)) byId("nav").children[Number(event.key)]?.click();
  });
}

/** Ask again and again while there is somebody who looks; a failure is shown by `truth`, and mends itself. */
function repeat(milliseconds, act, needed = () => live.connected) {
  setInterval(() => {
    if (needed() && !document.hidden) act().catch(() => {});
  }, milliseconds);
}

async function begin() {
  appearance();
  keys();
  byId("who").addEventListener("click", login);
  rack.addEventListener("me", who);
  rack.addEventListener("alarms", counts);
  rack.addEventListener("refused", () => renew().catch(() => {}));
  live.addEventListener("state", truth);
  live.addEventListener("told", truth);
  live.addEventListener("state", () => {
    if (live.connected) rack.readAlarms().catch(() => {});
    // a server that takes no more from us ends the web socket, and one that was started anew knows no sessions
    if (live.lost || !live.connected) renew().catch(() => {});
  });
  // nothing is asked while nobody looks
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !live.connected) return;
    live.check();
    rack.readAlarms().then(truth, () => {});
  });
  live.addEventListener("refused", (event) => toast(event.detail));
  counts();
  live.open();
  await Promise.allSettled([rack.readMe(), rack.read(), rack.readAlarms()]);
  rack.addEventListener("changed", follow);
  window.addEventListener("hashchange", turn);
  places();
  navigation();
  watchBeat();
  show();
  scrollTo(0, history.state?.top ?? 0);
  truth();
  setInterval(truth, 1000);
  repeat(ALARMS, () => rack.readAlarms());
  repeat(RACK, () => rack.read());
  repeat(ME, renew, () => true);
}

begin();

