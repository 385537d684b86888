// Live values over the web socket of the server (PVWS): each PV is asked for once, however often it is shown.

import { ago, moment, now } from "./time.js";

const AGAIN = [500, 1000, 2000, 5000];
const CHECK = 2000;
// Milliseconds after which a server that says nothing is not there.
const DEAD = 10000;
const LINGER = 5000;
const AT_ONCE = 2000;
// Milliseconds from a change to its picture: what changes meanwhile is in the same one, and each costs the browser time.
const PICTURE = 50;
// Members that a PV has by its type; a message tells those of its own type alone.
const OF_A_TYPE = ["value", "text", "labels", "units", "precision", "b64dbl", "b64flt", "b64int", "b64srt", "b64byt"];

class Live extends EventTarget {
  #socket = null;
  #pvs = new Map();
  #changed = new Set();
  #frame = 0;
  #tries = 0;
  #writes = new Map();
  #number = 0;
  #heard = moment();
  #asks = [];
  #check = 0;
  #again = 0;
  #ahead = null;
  connected = false;
  lost = null;
  /** What is shown is at least as new as this moment: of the questions that have been answered the newest was asked then. */
  told = moment();

  /** Connect, again and again. */
  open() {
    clearTimeout(this.#again);
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/pvws/pv`);
    this.#socket = socket;
    this.#heard = moment();
    socket.onopen = () => {
      this.connected = true;
      this.#tries = 0;
      this.#heard = this.told = moment();
      this.#ahead = null;
      this.#asks = [];
      this.#forgetValues();
      this.#askClock();
      this.#ask("subscribe", [...this.#pvs.keys()]);
      this.dispatchEvent(new Event("state"));
    };
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = () => this.#closed(socket);
    clearInterval(this.#check);
    this.#check = setInterval(() => this.check(), CHECK);
  }

  /** Connect anew, for what the server lets us do has changed. */
  reopen() {
    const socket = this.#socket;
    socket.onclose = null;
    socket.close();
    this.#closed(socket, 0);
  }

  /** Call `shown(pv)` at the next picture, and with each change; return what ends that. */
  watch(name, shown) {
    let pv = this.#pvs.get(name);
    if (!pv) {
      pv = { name, value: undefined, text: undefined, severity: undefined, shown: new Set() };
      this.#pvs.set(name, pv);
      this.#later([name]);
    }
    clearTimeout(pv.end);
    pv.shown.add(shown);
    shown(pv);
    return () => {
      pv.shown.delete(shown);
      if (!pv.shown.size) pv.end = setTimeout(() => this.#forget(pv), LINGER);
    };
  }

  /**
   * Put a value; the promise fails with the reason, which has `confirm` if somebody has to confirm it first. `asked` is the
   * `timeStamp` of what somebody did to ask for it: a page that hung does late what was clicked meanwhile.
   */
  put(name, value, asked, confirmed = false) {
    return new Promise((written, refused) => {
      if (!this.connected) {
        refused(new Error(`${name}: not put, for there is no connection to the web server`));
        return;
      }
      const id = ++this.#number;
      this.#writes.set(id, { written, refused });
      this.#send({ type: "write", pv: name, value, confirmed, id, at: this.#serverClock(asked) });
    });
  }

  /** Return a time by the server's clock, null if it is not known: a put that comes late by it is not carried out. */
  #serverClock(milliseconds) {
    return this.#ahead === null ? null : this.#ahead + milliseconds / 1000;
  }

  #asked = [];

  /** Ask for PVs together with those of this moment. */
  #later(names) {
    if (!this.#asked.length) {
      queueMicrotask(() => {
        const asked = this.#asked;
        this.#asked = [];
        if (this.connected) this.#ask("subscribe", asked);
      });
    }
    this.#asked.push(...names);
  }

  #ask(type, names) {
    for (let first = 0; first < names.length; first += AT_ONCE) {
      this.#send({ type, pvs: names.slice(first, first + AT_ONCE) });
    }
  }

  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #forget(pv) {
    if (pv.shown.size) return;
    this.#pvs.delete(pv.name);
    if (this.connected) this.#ask("clear", [pv.name]);
  }

  /** Forget the values of before: a server that was started anew may have no such PVs, and tells nothing of them then. */
  #forgetValues() {
    for (const pv of this.#pvs.values()) {
      for (const member of ["value", "text", "severity"]) delete pv[member];
      this.#changed.add(pv);
    }
    // at once: in the next picture the page counts as connected
    this.#show();
  }

  #askClock() {
    this.#asks.push(moment());
    this.#send({ type: "clock" });
  }

  #receive(message) {
    this.#heard = moment();
    if (message.type === "update") {
      const pv = this.#pvs.get(message.pv);
      if (!pv) return;
      delete message.type;
      delete message.pv;
      // of another type, as after a start with another configuration, it keeps nothing of the former one
      if (message.vtype && pv.vtype && message.vtype !== pv.vtype) for (const member of OF_A_TYPE) delete pv[member];
      Object.assign(pv, message, { heard: this.#heard });
      this.#note(pv);
    } else if (message.id !== undefined && this.#writes.has(message.id)) {
      const { written, refused } = this.#writes.get(message.id);
      this.#writes.delete(message.id);
      if (message.type === "written") written();
      else refused(Object.assign(new Error(message.message), { confirm: message.confirm }));
    } else if (message.type === "clock") {
      this.#ahead = message.clock - performance.now() / 1000;
      this.told = this.#asks.shift() ?? this.told;
      this.dispatchEvent(new Event("told"));
    } else if (message.type === "error") {
      this.dispatchEvent(new CustomEvent("refused", { detail: message.message }));
    }
  }

  #note(pv) {
    this.#changed.add(pv);
    this.#frame ||= setTimeout(() => requestAnimationFrame(() => this.#show()), PICTURE);
  }

  #show() {
    this.#frame = 0;
    const changed = this.#changed;
    this.#changed = new Set();
    for (const pv of changed) for (const shown of pv.shown) shown(pv);
  }

  /** Find out how late the server is heard, or that nobody is at the other end any more: a network that is gone says nothing. */
  check() {
    if (this.#socket.readyState > WebSocket.OPEN) return;
    if (ago(this.#heard) > DEAD) this.#socket.close(), this.#closed(this.#socket);
    else if (this.connected) this.#askClock();
  }

  #closed(socket, wait = AGAIN[Math.min(this.#tries++, AGAIN.length - 1)]) {
    if (socket !== this.#socket) return;
    if (this.connected) this.lost = now();
    this.connected = false;
    this.#socket = { readyState: WebSocket.CLOSED, close() {} };
    for (const { refused } of this.#writes.values()) {
      refused(new Error("the connection to the web server was lost; whether it was put is not known; after 5 s only an Off is"));
    }
    this.#writes.clear();
    this.dispatchEvent(new Event("state"));
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.open(), wait);
  }
}

export const live = new Live();
