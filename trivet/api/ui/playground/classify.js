/** Classifies a text by labels of the user's choice. */

import { post } from "../api.js";
import { byId } from "../dom.js";
import { bars } from "./bars.js";
import { copyAsCurl } from "./curl.js";
import { onSend, routeNote } from "./outcome.js";

/** @param {() => any} status */
export function wireClassify(status) {
  onSend(byId("classify-form"), byId("classify-outcome"), async () => {
    const labels = byId("classify-labels").value.split(",").map((/** @type {string} */ label) => label.trim()).filter(Boolean);
    const body = {
      input: byId("classify-text").value,
      labels: [...new Set(labels)],
      multi_label: byId("classify-multi").checked,
    };
    const { answer, route } = await post("v1/classify", body);
    const ranked = answer.data[0].labels.map((/** @type {any} */ entry) => ({ text: entry.label, score: entry.score }));
    const sorted = bars(ranked, "classifier", "Labels, the most likely first");
    return [routeNote(route, status()), sorted, copyAsCurl("v1/classify", body)];
  });
}
