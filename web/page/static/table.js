// A table of points: what is read, what was set, and a control to set it.

import { h, parts } from "./dom.js";
import { reading, setter } from "./put.js";

// What ends the name of a setting's readback.
const READBACK = "_RBV";
// Points with sentences, of which a value has the first 39 characters.
const SENTENCES = new Set(["Error", "LastError"]);

/** Return rows for points of a prefix; a setting and its readback are one row. */
export function pointTable(scope, prefix, points, { search = false } = {}) {
  const there = new Set(points);
  const rows = points.filter((point) => !(point.endsWith(READBACK) && there.has(point.slice(0, -READBACK.length))));
  const body = h("tbody");
  for (const point of rows) body.append(row(scope, prefix, point, there));
  const table = h("table", { class: "points" },
    h("thead", {}, h("tr", {}, ...[["name", "unseen"], ["now"], ["set"], ["history", "unseen"]].map(([text, name]) => h("th", { scope: "col" }, h("span", { text, class: name }))))), body);
  if (!search) return table;
  const field = h("input", { type: "search", placeholder: "filter names", "aria-label": "filter names" });
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const each of body.children) each.hidden = !each.dataset.point.toLowerCase().includes(wanted);
  });
  return h("div", {}, field, table);
}

function row(scope, prefix, point, there) {
  const name = prefix + point;
  const read = there.has(point + READBACK) ? name + READBACK : name;
  const control = h("td", { class: "control" });
  // whether it can be put is known when it is connected
  let made = false;
  scope.watch(name, (pv) => {
    if (made || !pv.vtype || !(pv.readonly === false || read !== name)) return;
    made = true;
    control.append(setter(scope, name, point));
  });
  const history = h("a", { href: `#/history?pv=${encodeURIComponent(read)}`, text: "∿", title: `History of ${read}`, "aria-label": `history of ${read}`, class: "to-history" });
  return h("tr", { "data-point": point },
    h("th", { scope: "row", title: name }, ...parts(point)), h("td", {}, reading(scope, SENTENCES.has(point) ? `${read}.VAL$` : read)), control, h("td", {}, history));
}
