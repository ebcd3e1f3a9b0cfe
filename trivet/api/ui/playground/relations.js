/** The look of relations: colour and stroke, the legend, and the table with the same content as the graph. */

import { el, svg } from "../dom.js";
import { table } from "../table.js";
import { share } from "../words.js";

const STROKES = [null, "9 5", "2 6", "12 4 2 4", "5 3", "1 4"];
const COLOURS = 6;

/**
 * A relation's look; relations differ in stroke as well as in colour.
 * @typedef {{name: string, colour: string, dashes: string | null, absent: boolean}} Look
 */

/**
 * Looks by name, in the service's order, so that a relation has the same colour in every answer.
 * @param {any} status
 * @param {{relation: string}[]} edges For relations that are not in the status.
 * @returns {Map<string, Look>}
 */
export function looks(status, edges) {
  const names = new Set([...Object.keys(status?.relations ?? {}), ...edges.map((edge) => edge.relation)]);
  const found = new Map();
  let next = 0;
  for (const name of names) {
    const absent = name === status?.no_relation;
    const at = absent ? 0 : next++;
    found.set(name, {
      name,
      colour: absent ? "absent" : String(at % COLOURS),
      dashes: absent ? "1 5" : STROKES[at % STROKES.length],
      absent,
    });
  }
  return found;
}

/**
 * @param {Map<string, Look>} known
 * @param {{relation: string}[]} edges
 */
export function legend(known, edges) {
  const used = new Set(edges.map((edge) => edge.relation));
  const items = [...known.values()]
    .filter((look) => used.has(look.name))
    .map((look) =>
      el(
        "li",
        { "data-relation": look.colour },
        svg("svg", { class: "stroke-key", viewBox: "0 0 34 10", "aria-hidden": "true" }, svg("path", { d: "M2 5H32", "stroke-dasharray": look.dashes })),
        el("span", { class: "relation-name" }, look.name),
      ),
    );
  return el("ul", { class: "legend", "aria-label": "Relations" }, ...items);
}

/**
 * @param {{to: string, relation: string, confidence: number, relevance: number | null}[]} edges
 * @param {Map<string, Look>} known
 */
export function relationsTable(edges, known) {
  /** @type {{name: string, kind?: "number" | "wide"}[]} */
  const columns = [
    { name: "Relation" },
    { name: "Candidate", kind: "wide" },
    { name: "Confidence", kind: "number" },
    { name: "Relevance", kind: "number" },
  ];
  const rows = edges.map((edge) => [
    el("span", { class: "relation-name", "data-relation": known.get(edge.relation)?.colour }, edge.relation),
    el("span", { class: "text" }, edge.to),
    share(edge.confidence),
    edge.relevance === null ? "" : share(edge.relevance),
  ]);
  return table(columns, rows, "relations-table");
}
