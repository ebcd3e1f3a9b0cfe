/** Draws the relations of many texts: names on a circle, and each relation as an arrow curved towards the centre. */

import { svg } from "../dom.js";
import { arrow } from "./edge_shapes.js";
import { widthOf, wrap } from "./text_lines.js";

const FONT = "13px";
const DOT = 6;
const NARROW = 620;
const SMALLEST = 62;
const WIDEST_NAME = 190;
const MARGIN = 2 * (DOT + 8);

/**
 * @param {string[]} names
 * @param {{from: number, to: number, relation: string, confidence: number}[]} edges By position among the names.
 * @param {Map<string, import("./relations.js").Look>} known
 * @param {number} width
 */
export function circle(names, edges, known, width) {
  const shown = width < NARROW ? names.map((name) => name.slice(name.lastIndexOf("/") + 1)) : names;
  const room = Math.min(WIDEST_NAME, (width - MARGIN) / 2 - SMALLEST);
  const longest = Math.min(room, Math.max(...shown.map((name) => widthOf(name, FONT))) + 4);
  const radius = Math.max(SMALLEST, Math.min(230, (width - MARGIN) / 2 - longest, 60 + 16 * names.length));
  const height = 2 * radius + 64;
  const centre = { x: width / 2, y: height / 2 };
  const places = names.map((_, at) => {
    const angle = (2 * Math.PI * at) / names.length - Math.PI / 2;
    return { angle, x: centre.x + radius * Math.cos(angle), y: centre.y + radius * Math.sin(angle) };
  });
  const lines = edges.map((edge) => bent(places[edge.from], places[edge.to], centre, edge, known));
  const nodes = places.map((place, at) => node(place, names[at], shown[at], longest));
  nodes.forEach((shape, at) => {
    // Pointing at a file shows only its relations; the table has the same information without a pointer.
    shape.addEventListener("pointerenter", () => dim(lines, (index) => edges[index].from !== at && edges[index].to !== at));
    shape.addEventListener("pointerleave", () => dim(lines, () => false));
  });
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": `${names.length} files in a circle, joined by ${edges.length} relations. The table below shows the same.`,
    },
    ...lines.flat(),
    ...nodes,
  );
}

/**
 * @param {SVGElement[][]} lines
 * @param {(index: number) => boolean} isAside
 */
function dim(lines, isAside) {
  lines.forEach((shapes, index) => {
    for (const shape of shapes) shape.toggleAttribute("data-dim", isAside(index));
  });
}

/**
 * @param {{x: number, y: number}} from
 * @param {{x: number, y: number}} to
 * @param {{x: number, y: number}} centre
 * @param {{relation: string, confidence: number}} edge
 * @param {Map<string, import("./relations.js").Look>} known
 */
function bent(from, to, centre, edge, known) {
  // Slightly to one side, so that the two directions are separate lines.
  const aside = { x: (to.y - from.y) * 0.1, y: (from.x - to.x) * 0.1 };
  const middle = {
    x: (from.x + to.x) / 2 + ((centre.x - (from.x + to.x) / 2) * 2) / 3 + aside.x,
    y: (from.y + to.y) / 2 + ((centre.y - (from.y + to.y) / 2) * 2) / 3 + aside.y,
  };
  const angle = Math.atan2(to.y - middle.y, to.x - middle.x);
  const back = (/** @type {number} */ far) => ({ x: to.x - far * Math.cos(angle), y: to.y - far * Math.sin(angle) });
  const [tip, end] = [back(DOT + 3), back(DOT + 10)];
  const d = `M${from.x.toFixed(1)} ${from.y.toFixed(1)}Q${middle.x.toFixed(1)} ${middle.y.toFixed(1)} ${end.x.toFixed(1)} ${end.y.toFixed(1)}`;
  const look = /** @type {import("./relations.js").Look} */ (known.get(edge.relation));
  return arrow(d, tip, angle, look, edge.confidence, 0.6);
}

/**
 * @param {{angle: number, x: number, y: number}} place
 * @param {string} name
 * @param {string} shown
 * @param {number} room
 */
function node(place, name, shown, room) {
  const [label] = wrap(shown, room, 1, FONT);
  const across = Math.cos(place.angle);
  const upright = Math.abs(across) < 0.2;
  const anchor = upright ? "middle" : across > 0 ? "start" : "end";
  const x = place.x + (upright ? 0 : Math.sign(across) * (DOT + 6));
  const y = place.y + (upright ? Math.sign(Math.sin(place.angle)) * (DOT + 12) : 0) + 4;
  return svg(
    "g",
    { class: "node" },
    svg("title", {}, name),
    svg("circle", { cx: place.x, cy: place.y, r: DOT }),
    svg("text", { x, y, "text-anchor": anchor }, label),
  );
}
