// Making elements, and what lives as long as a view.

import { live } from "./live.js";

/** Return an element; attributes that begin with "on" are handlers, `class` and `text` are what they say. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return a name in parts, between which a line may end: behind a colon or an underscore, and before a capital letter of a word. */
export const parts = (name) => name.split(/(?<=[:_])|(?<=[a-z])(?=[A-Z])/).flatMap((part, index) => (index ? [h("wbr"), part] : [part]));

/** What a view watches; all of it ends when another view takes its place. */
export class Scope {
  #ends = [];

  /** Call `shown(pv)` with what is known of a PV now, and with each change. */
  watch(name, shown) {
    this.#ends.push(live.watch(name, shown));
  }

  /** Call a function now and every so many milliseconds. */
  every(milliseconds, act) {
    act();
    const timer = setInterval(act, milliseconds);
    this.#ends.push(() => clearInterval(timer));
  }

  /** Call a function when the view ends. */
  atEnd(act) {
    this.#ends.push(act);
  }

  /** Return a scope that ends with this one, or earlier. */
  child() {
    const child = new Scope();
    this.atEnd(() => child.end());
    return child;
  }

  end() {
    for (const end of this.#ends.splice(0)) end();
  }
}

/** Set the text of an element if it is another one: that is cheaper than to let the browser find out. */
export function say(element, text) {
  if (element.said !== text) {
    element.said = text;
    element.textContent = text;
  }
}

/** Set an attribute `data-…` if it is another one. */
export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

/** Show a sentence for some seconds. */
export function toast(text, kind = "error") {
  const note = h("div", { class: `toast ${kind}`, text, role: "status", title: "Click: close" });
  // it may cover an Off; what it covers is not meant by the second click of two
  note.addEventListener("click", () => {
    note.style.opacity = 0;
    setTimeout(() => note.remove(), UNREAD);
  });
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), kind === "error" ? 12000 : 4000);
}

// Milliseconds for which a question cannot be answered with yes: the second click of two was not meant for it.
const UNREAD = 600;

/** Return what a PV is, besides its value: whether it is connected, its type, its unit, its words. */
const nature = ({ severity, vtype, units, labels }) => JSON.stringify([severity === "UNDEFINED", vtype, units, labels]);

/**
 * Ask a question about a PV in a dialog; return a promise of the event that said yes, or of null. What it is about must be seen,
 * and new, and the PV still what it was: else it is no.
 */
export function ask(name, title, text, yes) {
  return new Promise((answer) => {
    const dialog = h("dialog", { class: "ask" });
    let readable = Infinity;
    const confirm = h("button", { text: yes, class: "danger", id: "confirm", disabled: true,
      onclick: (event) => event.timeStamp < readable || done(event) });
    // from the picture on in which it is seen: what was clicked before, while the page hung, was not meant for it
    requestAnimationFrame(() => requestAnimationFrame(() => {
      readable = performance.now() + UNREAD;
      setTimeout(() => (confirm.disabled = false), UNREAD);
    }));
    const gone = () => done(null);
    const lost = () => live.connected || done(null);
    const done = (result) => {
      end();
      live.removeEventListener("state", lost);
      window.removeEventListener("hashchange", gone);
      dialog.close();
      dialog.remove();
      answer(result);
    };
    live.addEventListener("state", lost);
    window.addEventListener("hashchange", gone);
    dialog.append(
      h("h2", { text: title }),
      h("p", { text }),
      h("div", { class: "buttons" },
        h("button", { text: "Cancel", autofocus: true, onclick: () => done(null) }),
        confirm),
    );
    dialog.addEventListener("cancel", () => done(null));
    document.body.append(dialog);
    dialog.showModal();
    let was;
    const end = live.watch(name, (pv) => {
      was ??= nature(pv);
      if (nature(pv) === was) return;
      toast(`${name}: not put, for it was lost, or is another one now`);
      done(null);
    });
  });
}
