// The rack as the server describes it, who is logged in, and requests to its API.

import { hearTime, moment } from "./time.js";

class Rack extends EventTarget {
  prefix = "";
  archived = false;
  instruments = [];
  words = {};
  me = { name: "", refusal: "log in first", csrf: "", may_see: true, logins: false };
  alarms = [];
  connected = true;
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

/** Return the answer of the server; fails with a sentence if there is none, for browsers have words of their own for that. */
async function answerTo(address, request) {
  try {
    return await fetch(address, { signal: AbortSignal.timeout(PATIENCE), ...request });
  } catch (error) {
    throw request.signal?.aborted ? error : new Error("The web server does not answer.");
  }
}

async function getText(address, signal) {
  const answer = await answerTo(address, { cache: "no-cache", ...(signal && { signal }) });
  hearTime(answer);
  if (!answer.ok) {
    const sentence = await answer.json().then((body) => body.error, () => answer.statusText);
    throw Object.assign(new Error(sentence), { status: answer.status });
  }
  return answer.text();
}

/** Return the answer of the API; fails with its sentence. */
export const get = async (address, signal) => JSON.parse(await getText(address, signal));

/** Send something to the API; fails with its sentence. */
export async function post(address, body, signal) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": rack.me.csrf };
  const answer = await answerTo(address, { method: "POST", headers, body: JSON.stringify(body), ...(signal && { signal }) });
  if (!answer.ok) throw new Error(await answer.json().then((reply) => reply.error, () => answer.statusText));
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
