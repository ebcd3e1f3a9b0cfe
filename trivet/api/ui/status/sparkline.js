/** A line over the last two minutes. Seconds without a value leave a gap. */

import { el, setAttribute, setText, svg } from "../dom.js";

const HEIGHT = 40;
const TOP = 3;

/**
 * @param {string} name The quantity drawn, such as "Requests per second".
 * @param {(value: number) => string} format
 * @returns {{element: HTMLElement, update: (values: (number | null)[], now: string) => void}}
 */
export function sparkline(name, format) {
  const value = el("b");
  const area = svg("path", { class: "area" });
  const trace = svg("path", { class: "trace" });
  const floor = svg("path", { class: "floor" });
  const drawing = svg("svg", { preserveAspectRatio: "none", role: "img" }, floor, area, trace);
  const element = el("div", { class: "spark" }, el("div", { class: "spark-head" }, el("span", {}, name), value), drawing);
  return {
    element,
    update(values, now) {
      const known = values.filter((entry) => entry !== null);
      const peak = Math.max(...known, 0);
      setText(value, now);
      setAttribute(drawing, "viewBox", `0 0 ${values.length - 1} ${HEIGHT}`);
      const lines = runs(values).map((run) => points(run, peak));
      setAttribute(element, "data-gaps", known.length < values.length ? "" : null);
      setAttribute(floor, "d", `M0 ${HEIGHT}H${values.length - 1}`);
      setAttribute(trace, "d", peak > 0 ? lines.map((line) => `M${line.join("L")}${line.length === 1 ? "h0.01" : ""}`).join("") : "");
      setAttribute(area, "d", peak > 0 ? lines.map(filled).join("") : "");
      setAttribute(
        drawing,
        "aria-label",
        peak > 0 ? `${name}, last two minutes: ${now}, at most ${format(peak)}` : `${name}: nothing in the last two minutes`,
      );
    },
  };
}

/**
 * Splits values into runs without a gap.
 * @param {(number | null)[]} values
 * @returns {[number, number][][]}
 */
function runs(values) {
  /** @type {[number, number][][]} */
  const found = [];
  values.forEach((value, at) => {
    if (value === null) return;
    if (at > 0 && values[at - 1] !== null) found[found.length - 1].push([at, value]);
    else found.push([[at, value]]);
  });
  return found;
}

/**
 * @param {[number, number][]} run
 * @param {number} peak
 */
const points = (run, peak) =>
  run.map(([at, value]) => `${at} ${(HEIGHT - ((HEIGHT - TOP) * value) / Math.max(peak, 1e-9)).toFixed(2)}`);

/** @param {string[]} line */
function filled(line) {
  if (line.length === 1) return "";
  const first = line[0].split(" ")[0];
  const last = line[line.length - 1].split(" ")[0];
  return `M${first} ${HEIGHT}L${line.join("L")}L${last} ${HEIGHT}Z`;
}
