/** The requests that recently moved to the CPU, with time and reason. */

import { el } from "../dom.js";
import { table } from "../table.js";
import { clock, count, gpu, title } from "../words.js";

let shown = "";

/**
 * @param {HTMLElement} place
 * @param {any} status
 */
export function showReroutes(place, status) {
  const now = JSON.stringify([status.reroutes, status.gpus.length]);
  if (now === shown) return; // unchanged, so that a selection is kept
  shown = now;
  place.replaceChildren(status.reroutes.length > 0 ? rows(status.reroutes) : empty(status));
}

/** @param {any} status */
function empty(status) {
  const text =
    status.gpus.length > 0
      ? `None since the service started. When the ${gpu(status)} runs short of memory, each request that moves is listed here with the time and the reason.`
      : "None: there is no GPU to move from.";
  return el("p", { class: "empty" }, text);
}

/** @param {any[]} reroutes */
const rows = (reroutes) =>
  table(
    [{ name: "When" }, { name: "Model" }, { name: "Requests", kind: "number" }, { name: "Reason", kind: "wide" }],
    reroutes.map((row) => [when(row), title(row.model), count(row.requests), row.reason]),
  );

/** @param {any} row */
function when(row) {
  const [first, last] = [clock(row.first_at_s), clock(row.last_at_s)];
  return first === last ? first : `${first} to ${last}`;
}
