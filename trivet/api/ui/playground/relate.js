/** Relates a source to candidates: which of them it depends on, expands on or contradicts. */

import { post } from "../api.js";
import { byId, el } from "../dom.js";
import { counted } from "../words.js";
import { copyAsCurl } from "./curl.js";
import { fan } from "./graph_fan.js";
import { entries, onSend, routeNote } from "./outcome.js";
import { redrawn } from "./redrawn.js";
import { legend, looks, relationsTable } from "./relations.js";

const MAX_DRAWN = 12;

/** @param {() => any} status */
export function wireRelate(status) {
  onSend(byId("relate-form"), byId("relate-outcome"), async () => {
    const source = byId("relate-source").value.trim();
    const candidates = entries(byId("relate-candidates").value);
    // No thresholds, so that weak results are shown too; each has its confidence.
    const body = { source, candidates, top_k: MAX_DRAWN, min_relevance: 0, threshold: 0 };
    const { answer, route } = await post("v1/relations", body);
    const edges = answer.edges.map((/** @type {any} */ edge) => ({
      text: candidates[edge.target_index],
      to: candidates[edge.target_index],
      relation: edge.relation,
      confidence: edge.confidence,
      relevance: edge.relevance,
    }));
    const note = routeNote(route, status());
    const curl = copyAsCurl("v1/relations", body);
    if (edges.length === 0) return [note, el("p", { class: "empty" }, "No candidate is related to the source."), curl];
    const known = looks(status(), edges);
    const beyond = answer.omitted.beyond_top_k;
    return [
      note,
      legend(known, edges),
      redrawn((width) => fan(source, edges, known, width)),
      beyond > 0 && el("p", { class: "hint" }, `The ${MAX_DRAWN} most relevant candidates are drawn; ${counted(beyond, "other")} omitted.`),
      relationsTable(edges, known),
      curl,
    ].filter((part) => part instanceof Node);
  });
}
