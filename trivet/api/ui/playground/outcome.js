/** Shared by all forms: one request at a time, a progress text, errors, and how the request was served. */

import { Failure } from "../api.js";
import { el } from "../dom.js";
import { counted, gpu, milliseconds } from "../words.js";

/**
 * Runs `work` when the form is submitted, and shows the nodes that it returns.
 * @param {HTMLFormElement} form
 * @param {HTMLElement} place
 * @param {() => Promise<Node[]>} work
 */
export function onSend(form, place, work) {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('button[type="submit"]'));
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    // Not `disabled`, which would remove the focus from the button.
    button.setAttribute("aria-disabled", "true");
    place.replaceChildren(el("p", { class: "working", role: "status" }, "Waiting for the answer…"));
    try {
      place.replaceChildren(...(await work()));
    } catch (error) {
      place.replaceChildren(failure(error));
    } finally {
      busy = false;
      button.removeAttribute("aria-disabled");
    }
  });
}

/**
 * Shows a failure. Any other error is a bug of the page and is thrown again, into the console.
 * @param {unknown} error
 */
export function failure(error) {
  if (!(error instanceof Failure)) throw error;
  return el("p", { class: "failure", role: "alert" }, error.message);
}

/**
 * Shows the device, the latency, and the reason if the GPU did not serve the request.
 * @param {import("../api.js").Route} route
 * @param {any} status
 */
export function routeNote(route, status) {
  const devices = [...new Set(route.device.split(", "))];
  const parts = [
    el("span", { class: "visually-hidden" }, "Done."),
    ...devices.map((device) => el("span", { class: "pill", "data-lane": laneOf(device, route, status) }, named(device))),
    el("span", { class: "muted" }, `answered in ${milliseconds(route.milliseconds)}`),
  ];
  if (route.reason) parts.push(el("span", { class: "route-why" }, `Moved from the ${gpu(status)}, because: ${route.reason}`));
  if (route.truncated > 0) {
    parts.push(el("span", { class: "route-why" }, `Truncated: ${counted(route.truncated, "text")}.`));
  }
  return el("div", { class: "route", role: "status" }, ...parts);
}

/** @param {string} device */
const named = (device) => (device.startsWith("simulated") ? `${device} (a simulated GPU)` : device);

/**
 * @param {string} device
 * @param {import("../api.js").Route} route
 * @param {any} status
 */
function laneOf(device, route, status) {
  if (!device.toLowerCase().startsWith("cpu")) return "gpu";
  return route.reason || status?.gpus.length > 0 ? "cpu" : "only-cpu";
}

/**
 * Splits a text area into entries, at blank lines if there are any, otherwise at each line break.
 * @param {string} text
 */
export function entries(text) {
  const separator = /\n\s*\n/.test(text.trim()) ? /\n\s*\n/ : /\n/;
  return text.split(separator).map((entry) => entry.trim()).filter((entry) => entry !== "");
}
