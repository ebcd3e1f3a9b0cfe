/** Compares texts by their vectors: a matrix of cosines. */

import { post } from "../api.js";
import { byId, el } from "../dom.js";
import { counted } from "../words.js";
import { copyAsCurl } from "./curl.js";
import { entries, onSend, routeNote } from "./outcome.js";

const MOST_TEXTS = 24;

/** @param {() => any} status */
export function wireEmbed(status) {
  onSend(byId("embed-form"), byId("embed-outcome"), async () => {
    const all = entries(byId("embed-texts").value);
    const texts = all.slice(0, MOST_TEXTS);
    const body = { input: texts };
    const { answer, route } = await post("v1/embeddings", body);
    const vectors = answer.data.map((/** @type {any} */ item) => unit(item.embedding));
    const omitted = all.length - texts.length;
    return [
      routeNote(route, status()),
      omitted > 0 && el("p", { class: "hint" }, `The first ${MOST_TEXTS} texts are compared; ${counted(omitted, "other")} omitted.`),
      el("p", { class: "muted" }, `Cosine similarity of vectors with ${vectors[0].length} dimensions; 1 is the same direction.`),
      matrix(texts, vectors),
      copyAsCurl("v1/embeddings", body),
    ].filter((part) => part instanceof Node);
  });
}

/** @param {number[]} vector */
function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return vector.map((component) => component / length);
}

/**
 * @param {number[]} one
 * @param {number[]} other
 */
const cosine = (one, other) => one.reduce((sum, component, at) => sum + component * other[at], 0);

/**
 * @param {string[]} texts
 * @param {number[][]} vectors Of length one.
 */
function matrix(texts, vectors) {
  const head = el("tr", {}, el("td", { class: "corner" }), ...texts.map((_, at) => el("th", { scope: "col" }, String(at + 1))));
  const rows = texts.map((text, row) => {
    const cells = vectors.map((other) => {
      const similarity = cosine(vectors[row], other);
      const cell = el("td", {}, similarity.toFixed(2));
      cell.style.setProperty("--share", Math.max(0, Math.min(1, similarity)).toFixed(3));
      return cell;
    });
    const label = el("span", { class: "text" }, `${row + 1}. ${text}`);
    return el("tr", {}, el("th", { scope: "row" }, label), ...cells);
  });
  const table = el("table", { "aria-label": "Similarity of the texts" }, el("thead", {}, head), el("tbody", {}, ...rows));
  return el("div", { class: "matrix", tabindex: "0", role: "region", "aria-label": "Similarity matrix" }, table);
}
