/** The rules that choose the device, with the values of this service. */

import { el } from "../dom.js";
import { bytes, duration } from "../words.js";

let shown = "";

/**
 * @param {HTMLElement} place
 * @param {any} status
 */
export function showRules(place, status) {
  const now = JSON.stringify([status.policy, status.cpu_only_reason]);
  if (now === shown) return;
  shown = now;
  place.replaceChildren(rules(status));
}

/** @param {any} status */
function rules(status) {
  const { reroute_below_bytes, resume_above_bytes, dwell_s, grace_s, offload_after_s } = status.policy;
  const sentences = [
    "Every model always has a process on the CPU and, if the machine has a GPU, a second one there. The device of a request is chosen when it arrives.",
    `A model with less than ${bytes(reroute_below_bytes)} of GPU memory available leaves the GPU immediately. Memory that its own process has cached counts as available.`,
    `It returns once more than ${bytes(resume_above_bytes)} is available and its last switch was at least ${duration(dwell_s)} ago.`,
    offload_after_s === null
      ? "Its weights stay on the GPU in the meantime."
      : `After ${duration(offload_after_s)} without enough memory its weights are offloaded, which frees the GPU for other processes.`,
    `If the GPU cannot be read for ${duration(grace_s)}, all requests go to the CPU.`,
    "If a request fails on the GPU, the CPU serves it. The answer has the reason in the header x-trivet-reroute-reason.",
  ];
  const items = sentences.map((sentence) => el("li", {}, sentence));
  return el(
    "div",
    {},
    status.cpu_only_reason ? el("p", { class: "empty" }, `Only the first rule applies here. ${status.cpu_only_reason}`) : null,
    el("ol", {}, ...items),
  );
}
