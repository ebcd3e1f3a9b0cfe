/** The rules by which lanes are chosen, with this service's own numbers. */

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
    "Every model has a CPU process that is always there, and, where the machine has a GPU, a second one on it. A request's lane is fixed when it arrives.",
    `A model with less than ${bytes(reroute_below_bytes)} of GPU memory available leaves the GPU at once. Memory that its own process keeps ready counts as available.`,
    `It returns once more than ${bytes(resume_above_bytes)} is available and it has been away for at least ${duration(dwell_s)}.`,
    offload_after_s === null
      ? "Its weights stay on the GPU meanwhile."
      : `After ${duration(offload_after_s)} without room it gives its weights back, so that whoever needs the memory has it.`,
    `If the GPU cannot be read for ${duration(grace_s)}, everything moves to the CPU.`,
    "If a request fails on the GPU, the CPU answers the same request. Its answer carries the reason in the header x-trivet-reroute-reason.",
  ];
  const items = sentences.map((sentence) => el("li", {}, sentence));
  return el(
    "div",
    {},
    status.cpu_only_reason ? el("p", { class: "empty" }, `Here only the first rule matters. ${status.cpu_only_reason}`) : null,
    el("ol", {}, ...items),
  );
}
