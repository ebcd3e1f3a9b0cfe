/** Makes tables with explicit roles, so that they remain tables for screen readers when rows are styled as blocks. */

import { el } from "./dom.js";

/**
 * @param {{name: string, kind?: "number" | "wide"}[]} columns
 * @param {(Node | string)[][]} rows
 * @param {string} [style]
 */
export function table(columns, rows, style) {
  const head = columns.map(({ name, kind }) => el("th", { scope: "col", role: "columnheader", class: kind }, name));
  const body = rows.map((cells) =>
    el(
      "tr",
      { role: "row" },
      ...cells.map((cell, at) => el("td", { role: "cell", class: columns[at].kind, "data-name": columns[at].name.toLowerCase() }, cell)),
    ),
  );
  return el(
    "table",
    { role: "table", class: style },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head)),
    el("tbody", { role: "rowgroup" }, ...body),
  );
}
