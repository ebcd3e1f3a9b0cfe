/** A list sorted by score, with a bar for each entry. */

import { el } from "../dom.js";
import { share } from "../words.js";

/**
 * @param {{text: string, score: number}[]} ranked Best first.
 * @param {string} task Selects the colour.
 * @param {string} name The list's accessible name.
 */
export function bars(ranked, task, name) {
  const items = ranked.map(({ text, score }, at) => {
    const filling = el("i");
    filling.style.width = `${(100 * score).toFixed(1)}%`;
    return el(
      "li",
      {},
      el("span", { class: "place", "aria-hidden": "true" }, String(at + 1)),
      el("span", { class: "text" }, text),
      el("span", { class: "score" }, share(score)),
      el("span", { class: "meter", "aria-hidden": "true" }, filling),
    );
  });
  return el("ol", { class: "ranking", "data-of": task, "aria-label": name }, ...items);
}
