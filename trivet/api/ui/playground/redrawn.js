/** A drawing that fits its container, and is redrawn when the container's width changes. */

import { el } from "../dom.js";

/** @param {(width: number) => SVGElement} draw */
export function redrawn(draw) {
  const place = el("div", { class: "graph" });
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now === 0 || now === width) return;
    width = now;
    place.replaceChildren(draw(width));
  }).observe(place);
  return place;
}
