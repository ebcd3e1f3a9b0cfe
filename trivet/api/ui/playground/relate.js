/** A source and candidates: which of them it depends on, expands on, contradicts. */

import { post } from "../api.js";
import { byId, el } from "../dom.js";
import { counted } from "../words.js";
import { fan } from "./graph_fan.js";
import { entries, onSend, routeNote } from "./outcome.js";
import { redrawn } from "./redrawn.js";
import { legend, looks, relationsTable } from "./relations.js";

const MOST_DRAWN = 12;

/** @param {() => any} status */
export function wireRelate(status) {
  onSend(byId("relate-form"), byId("relate-outcome"), async () => {
    const source = byId("relate-source").value.trim();
    const candidates = entries(byId("relate-candidates").value);
    // Whoever tries things out wants to see the weak answers too; each shows its confidence.
    const asked = { source, candidates, top_k: MOST_DRAWN, min_relevance: 0, threshold: 0 };
    const { answer, route } = await post("v1/relations", asked);
    const edges = answer.edges.map((/** @type {any} */ edge) => ({
      text: candidates[edge.target_index],
      from: source,
      to: candidates[edge.target_index],
      relation: edge.relation,
      confidence: edge.confidence,
      relevance: edge.relevance,
    }));
    const note = routeNote(route, status());
    if (edges.length === 0) return [note, el("p", { class: "empty" }, "No candidate is related to the source.")];
    const known = looks(status(), edges);
    const beyond = answer.omitted.beyond_top_k;
    return [
      note,
      legend(known, edges),
      redrawn((width) => fan(source, edges, known, width)),
      beyond > 0 && el("p", { class: "hint" }, `The ${MOST_DRAWN} most relevant candidates are drawn; ${counted(beyond, "other")} left out.`),
      relationsTable(edges, known, { from: "Source", to: "Candidate" }),
    ].filter((part) => part instanceof Node);
  });
}
