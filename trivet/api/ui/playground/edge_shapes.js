/** Lines, arrowheads and labels of graphs. */

import { svg } from "../dom.js";
import { widthOf } from "./text_lines.js";

const ARROW = 9;
export const LABEL_HEIGHT = 22;

/** The stroke's width, which grows with the confidence. @param {number} confidence */
const thickness = (confidence) => 1.25 + 2.5 * confidence;

/**
 * A line with an arrowhead, which ends at `tip` in direction `angle`.
 * @param {string} d
 * @param {{x: number, y: number}} tip
 * @param {number} angle Radians.
 * @param {import("./relations.js").Look} look
 * @param {number} confidence
 */
export function arrow(d, tip, angle, look, confidence) {
  const side = (/** @type {number} */ turn) => {
    const [x, y] = [tip.x - ARROW * Math.cos(angle + turn), tip.y - ARROW * Math.sin(angle + turn)];
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  };
  return [
    svg("path", {
      class: "edge",
      d,
      "data-relation": look.colour,
      "stroke-width": thickness(confidence).toFixed(2),
      "stroke-dasharray": look.dashes,
    }),
    svg("path", { class: "arrow", "data-relation": look.colour, d: `M${tip.x} ${tip.y}L${side(0.42)}L${side(-0.42)}Z` }),
  ];
}

/**
 * @param {string} text
 * @param {number} x The middle.
 * @param {number} y The middle.
 * @param {import("./relations.js").Look} look
 */
export function edgeLabel(text, x, y, look) {
  const width = labelWidth(text);
  return svg(
    "g",
    { class: "edge-label", "data-relation": look.colour },
    svg("rect", { x: x - width / 2, y: y - LABEL_HEIGHT / 2, width, height: LABEL_HEIGHT, rx: LABEL_HEIGHT / 2 }),
    svg("text", { x, y: y + 4, "text-anchor": "middle" }, text),
  );
}

/** @param {string} text */
export const labelWidth = (text) => widthOf(text, "600 12px") + 20;
