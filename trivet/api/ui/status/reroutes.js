/** Which requests left the GPU lately, when and why. */

import { el } from "../dom.js";
import { clock, count, title } from "../words.js";

let shown = "";

/**
 * @param {HTMLElement} place
 * @param {any} status
 */
export function showReroutes(place, status) {
  const now = JSON.stringify([status.reroutes, status.cards.length]);
  if (now === shown) return; // nothing new: a reader's selection stays
  shown = now;
  place.replaceChildren(status.reroutes.length > 0 ? table(status.reroutes) : empty(status));
}

/** @param {any} status */
function empty(status) {
  const text =
    status.cards.length > 0
      ? "None since the service started. When the GPU runs short of memory, each request that moves is listed here with the time and the reason."
      : "None: there is no GPU lane to move away from.";
  return el("p", { class: "empty" }, text);
}

/** @param {any[]} reroutes */
function table(reroutes) {
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "When"),
    el("th", { scope: "col" }, "Model"),
    el("th", { scope: "col", class: "number" }, "Requests"),
    el("th", { scope: "col" }, "Reason"),
  );
  const rows = reroutes.map((row) =>
    el("tr", {}, el("td", {}, when(row)), el("td", {}, title(row.model)), el("td", { class: "number" }, count(row.requests)), el("td", {}, row.reason)),
  );
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

/** @param {any} row */
function when(row) {
  const [first, last] = [clock(row.first_at_s), clock(row.last_at_s)];
  return first === last ? first : `${first} to ${last}`;
}
