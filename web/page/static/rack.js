// The rack as the server describes it, who is logged in, and requests to its API.

import { hearTime, moment } from "./time.js";

class Rack extends EventTarget {
  prefix = "";
  archived = false;
  instruments = [];
  words = {};
  me = { name: "", refusal: "log in first", csrf: "", may_see: true, logins: false };
  alarms = [];
  /** Whether the IOC has told its alarms; null until that was asked. */
  connected = null;
  /** When those alarms were asked for that are shown. */
  alarmsRead = moment();
  #known = "";

  /** Return an instrument by its name. */
  instrument(name) {
    return this.instruments.find((each) => each.name === name);
  }

  /** Read what there is, and say so if it has changed. */
  async read() {
    const text = await getText("/api/instruments");
    if (text === this.#known) return;
    this.#known = text;
    Object.assign(this, JSON.parse(text));
    this.dispatchEvent(new Event("changed"));
  }

  /** Read who is logged in. */
  async readMe() {
    this.me = await get("/api/me");
    this.dispatchEvent(new Event("me"));
  }

  /** Read the alarms. */
  async readAlarms() {
    const asked = moment();
    const { connected, alarms } = await get("/api/alarms");
    if (asked.steady < this.alarmsRead.steady) return; // a newer answer was faster
    this.connected = connected;
    this.alarms = alarms;
    this.alarmsRead = asked;
    this.dispatchEvent(new Event("alarms"));
  }
}

export const rack = new Rack();

// Milliseconds after which an answer is waited for no more: a connection that is lost without a sign would be held for many minutes, and
// a browser has six of them.
const PATIENCE = 20000;

/**
 * Return the answer of the server and its text; fails with a sentence if they do not come, for browsers have words of their own for that.
 * `signal` ends the waiting, and so does `patience`.
 */
async function answerTo(address, request, signal, patience = PATIENCE) {
  const ended = new AbortController();
  const end = () => ended.abort();
  const timer = setTimeout(end, patience);
  signal?.addEventListener("abort", end);
  try {
    const answer = await fetch(address, { ...request, signal: ended.signal });
    return { answer, text: await answer.text() };
  } catch (error) {
    throw signal?.aborted ? error : new Error("The web server does not answer.");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

/** Return the sentence of an answer that says no. */
function refusal({ answer, text }) {
  try {
    return JSON.parse(text).error;
  } catch {
    return answer.statusText;
  }
}

async function getText(address, signal, patience) {
  const asked = moment();
  const told = await answerTo(address, { cache: "no-cache" }, signal, patience);
  hearTime(told.answer, asked);
  if (!told.answer.ok) throw Object.assign(new Error(refusal(told)), { status: told.answer.status });
  return told.text;
}

/** Return the answer of the API; fails with its sentence. */
export const get = async (address, signal, patience) => JSON.parse(await getText(address, signal, patience));

/** Send something to the API; fails with its sentence. */
export async function post(address, body, signal) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": rack.me.csrf };
  const told = await answerTo(address, { method: "POST", headers, body: JSON.stringify(body) }, signal);
  if (!told.answer.ok) throw new Error(refusal(told));
}

/** Return the address of the page of an instrument, a board or a channel; a name may have signs that an address takes for its own. */
export const addressOf = (...names) => `#/i/${names.map(encodeURIComponent).join("/")}`;

/** Return the address of the page of a PV's instrument, board or channel. */
export function placeOf(pv) {
  const owners = rack.instruments.filter((each) => pv.startsWith(each.prefix));
  const owner = owners.sort((one, other) => other.prefix.length - one.prefix.length)[0];
  if (!owner) return "#/";
  const channel = pv.slice(owner.prefix.length).match(/^(S\d\d+):(?:(C\d\d+):)?/);
  if (!channel || !owner.boards.length) return addressOf(owner.name);
  return addressOf(owner.name, ...channel.slice(1).filter(Boolean));
}
