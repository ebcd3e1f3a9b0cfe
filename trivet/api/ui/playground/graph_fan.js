/**
 * Draws a source on the left, its candidates in a column on the right, and an edge to each. In a narrow space the source
 * is at the top, and the edges run along a trunk on the left.
 */

import { svg } from "../dom.js";
import { share } from "../words.js";
import { arrow, edgeLabel, LABEL_HEIGHT, labelWidth } from "./edge_shapes.js";
import { wrap } from "./text_lines.js";

const FONT = "13px";
const LINE = 18;
const PAD = 11;
const GAP = 16;
const NARROW = 620;
const MAX_LINES = 4;

/** @typedef {{x: number, y: number, width: number, height: number, lines: string[]}} Box */

/**
 * @param {string} source
 * @param {{text: string, relation: string, confidence: number}[]} edges
 * @param {Map<string, import("./relations.js").Look>} known
 * @param {number} width
 */
export function fan(source, edges, known, width) {
  const drawing = width < NARROW ? stacked(source, edges, known, width) : sideBySide(source, edges, known, width);
  return svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${drawing.height}`,
      width,
      height: drawing.height,
      role: "img",
      "aria-label": `The source and ${edges.length} candidates, joined by their relations. The table below shows the same.`,
    },
    ...drawing.shapes,
  );
}

/**
 * @param {string} text
 * @param {number} width
 * @returns {Box}
 */
function box(text, width) {
  const lines = wrap(text, width - 2 * PAD, MAX_LINES, FONT);
  return { x: 0, y: 0, width, height: lines.length * LINE + 2 * PAD - 2, lines };
}

/**
 * @param {Box} shape
 * @param {"source" | "candidate"} role
 */
function drawn(shape, role) {
  const { x, y, width, height, lines } = shape;
  return svg(
    "g",
    { class: "node", "data-role": role },
    svg("rect", { x, y, width, height, rx: 10 }),
    ...lines.map((line, at) => svg("text", { x: x + PAD, y: y + PAD + 12 + at * LINE }, line)),
  );
}

/** @param {{relation: string, confidence: number}} edge */
const labelOf = (edge) => `${edge.relation} ${share(edge.confidence)}`;

/**
 * @param {string} source
 * @param {{text: string, relation: string, confidence: number}[]} edges
 * @param {Map<string, import("./relations.js").Look>} known
 * @param {number} width
 */
function sideBySide(source, edges, known, width) {
  const between = Math.max(...edges.map((edge) => labelWidth(labelOf(edge)))) + 110;
  const boxWidth = Math.min(360, (width - between - 2) / 2);
  const from = box(source, boxWidth);
  const right = width - boxWidth - 1;
  let y = 1;
  const boxes = edges.map((edge) => {
    const candidate = { ...box(edge.text, boxWidth), x: right, y };
    y += candidate.height + GAP;
    return candidate;
  });
  const height = Math.max(y - GAP, from.height) + 2;
  from.x = 1;
  from.y = (height - from.height) / 2;
  const start = { x: from.x + boxWidth, y: height / 2 };
  const lines = edges.flatMap((edge, at) => {
    const look = /** @type {import("./relations.js").Look} */ (known.get(edge.relation));
    const tip = { x: right - 3, y: boxes[at].y + boxes[at].height / 2 };
    const bend = (tip.x - start.x) * 0.45;
    const d = `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${start.x + bend * 0.7} ${tip.y} ${tip.x - 8} ${tip.y}`;
    return arrow(d, tip, 0, look, edge.confidence);
  });
  const labels = edges.map((edge, at) => {
    const look = /** @type {import("./relations.js").Look} */ (known.get(edge.relation));
    const x = right - 22 - labelWidth(labelOf(edge)) / 2;
    return edgeLabel(labelOf(edge), x, boxes[at].y + boxes[at].height / 2, look);
  });
  return { height, shapes: [...lines, drawn(from, "source"), ...boxes.map((shape) => drawn(shape, "candidate")), ...labels] };
}

/**
 * @param {string} source
 * @param {{text: string, relation: string, confidence: number}[]} edges
 * @param {Map<string, import("./relations.js").Look>} known
 * @param {number} width
 */
function stacked(source, edges, known, width) {
  const indent = 40;
  const apart = Math.min(6, 22 / edges.length);
  const from = { ...box(source, width - 2), x: 1, y: 1 };
  let y = from.y + from.height + GAP;
  const lines = [];
  const nodes = [drawn(from, "source")];
  const labels = [];
  for (const [at, edge] of edges.entries()) {
    const trunk = 28 - at * apart; // separate trunks, the longest outermost, so that none overlaps another
    const look = /** @type {import("./relations.js").Look} */ (known.get(edge.relation));
    const text = labelOf(edge);
    const candidate = { ...box(edge.text, width - indent - 1), x: indent, y: y + LABEL_HEIGHT + 6 };
    labels.push(edgeLabel(text, indent + labelWidth(text) / 2, y + LABEL_HEIGHT / 2, look));
    const tip = { x: indent - 2, y: candidate.y + candidate.height / 2 };
    const d = `M${trunk} ${from.y + from.height}V${tip.y - 6}Q${trunk} ${tip.y} ${trunk + 3} ${tip.y}H${tip.x - 8}`;
    lines.unshift(...arrow(d, tip, 0, look, edge.confidence));
    nodes.push(drawn(candidate, "candidate"));
    y = candidate.y + candidate.height + GAP;
  }
  return { height: y - GAP + 2, shapes: [...lines, ...nodes, ...labels] };
}
