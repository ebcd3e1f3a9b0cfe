/** Sorts documents by their relevance to a query. */

import { post } from "../api.js";
import { byId } from "../dom.js";
import { bars } from "./bars.js";
import { copyAsCurl } from "./curl.js";
import { entries, onSend, routeNote } from "./outcome.js";

/** @param {() => any} status */
export function wireRerank(status) {
  onSend(byId("rerank-form"), byId("rerank-outcome"), async () => {
    const documents = entries(byId("rerank-documents").value);
    const body = { query: byId("rerank-query").value, documents };
    const { answer, route } = await post("v1/rerank", body);
    const ranked = answer.results.map((/** @type {any} */ result) => ({
      text: documents[result.index],
      score: result.relevance_score,
    }));
    const sorted = bars(ranked, "reranker", "Documents, the most relevant first");
    return [routeNote(route, status()), sorted, copyAsCurl("v1/rerank", body)];
  });
}
