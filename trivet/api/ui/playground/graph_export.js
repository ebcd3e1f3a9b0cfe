/** Makes one file of a graph that needs nothing else: the viewer, its styles, and the data. */

import { getText } from "../api.js";

const STYLES = ["css/base.css", "graph/viewer.css"];

/** @param {any} graph */
export async function exported(graph) {
  const [template, script, ...styles] = await Promise.all(
    ["graph/export.html", "graph/viewer.js", ...STYLES].map((name) => getText(name)),
  );
  /** @type {Record<string, string>} */
  const parts = {
    style: styles.join("\n"),
    script,
    // Within JSON every `<` is in a string, where it can be written so; then no text can end the element.
    data: JSON.stringify(graph).replaceAll("<", "\\u003c"),
  };
  // Not one replacement after another: a text may contain a placeholder.
  const [first, ...rest] = template.split("{{");
  return first + rest.map((piece) => parts[piece.slice(0, piece.indexOf("}}"))] + piece.slice(piece.indexOf("}}") + 2)).join("");
}
