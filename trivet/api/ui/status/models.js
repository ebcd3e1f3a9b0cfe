/** One model: its device and the reason, its recent traffic, and the memory of its processes. */

import { el, setAttribute, setText } from "../dom.js";
import { answers, bytes, count, counted, duration, gpu, milliseconds, title, why } from "../words.js";
import { sparkline } from "./sparkline.js";

/**
 * @param {string} task
 * @returns {{element: HTMLElement, update: (model: any, status: any) => void}}
 */
export function modelCard(task) {
  const heading = `model-${task}`;
  const pill = el("span", { class: "pill" });
  const name = el("p", { class: "model-name" });
  const reason = el("p");
  const words = el("p", { class: "model-words" });
  const requests = sparkline("Requests per second", (value) => count(value));
  const latency = sparkline("Latency", milliseconds);
  const facts = el("dl", { class: "facts" });
  const element = el(
    "article",
    { class: "card model", "data-of": task, "aria-labelledby": heading },
    el("div", { class: "model-head" }, el("h2", { id: heading }, title(task)), pill),
    name,
    el("div", { class: "model-why" }, reason, words),
    requests.element,
    latency.element,
    facts,
  );

  return {
    element,
    update(model, status) {
      const [state, text] = lane(model, status);
      setAttribute(pill, "data-lane", state);
      setText(pill, text);
      setText(name, [model.name, model.precision].filter(Boolean).join(" · ") || "not loaded yet");
      setText(reason, model.cause === null ? "Only the CPU is available." : why(model, status));
      setText(words, model.cause === null || model.cause === "room" ? "" : `In the log: ${model.reason}`);
      words.hidden = words.textContent === "";
      const perSecond = model.seconds.calls;
      requests.update(perSecond, `${count(perSecond[perSecond.length - 1])} now`);
      latency.update(model.seconds.p50_ms, model.last_minute.p50_ms === null ? "idle" : `median ${milliseconds(model.last_minute.p50_ms)}`);
      showFacts(facts, factsOf(model));
    },
  };
}

/**
 * @param {any} model
 * @param {any} status
 * @returns {[string, string]} The state, which sets the colour, and the text.
 */
function lane(model, status) {
  if (!answers(model)) return ["none", "not ready yet"];
  if (model.lane === "gpu") return ["gpu", `on the ${gpu(status)}`];
  return [model.cause === null ? "only-cpu" : "cpu", "on the CPU"];
}

/**
 * Always the same rows, so that the three panels stay aligned.
 * @param {any} model
 * @returns {[string, string][]}
 */
function factsOf(model) {
  const minute = model.last_minute;
  const lanes = Object.entries(model.lanes);
  const waiting = lanes.reduce((sum, [, state]) => sum + /** @type {any} */ (state).waiting_tokens, 0);
  /** @type {[string, string][]} */
  const facts = [["Last minute", counted(minute.calls, "request")]];
  if (model.cause !== null) facts.push(["Moved to the CPU", count(minute.rerouted)]);
  facts.push(
    ["Failed", count(minute.failed)],
    ["Latency p95", milliseconds(minute.p95_ms)],
    ["Tokens per second", count(minute.tokens / 60)],
    ["In flight", count(model.in_flight)],
    ["Queued", counted(waiting, "token")],
  );
  for (const [name, state] of lanes) {
    const { rss_bytes, ready, detail } = /** @type {any} */ (state);
    facts.push([`${name.toUpperCase()} process`, ready ? (rss_bytes > 0 ? `${bytes(rss_bytes)} of RAM` : "ready") : detail]);
  }
  facts.push(["On this device", model.lane_age_s === null ? "since the start" : `for ${duration(model.lane_age_s)}`]);
  return facts;
}

/**
 * @param {HTMLElement} place
 * @param {[string, string][]} facts
 */
function showFacts(place, facts) {
  while (place.children.length > 2 * facts.length) place.lastElementChild?.remove();
  facts.forEach(([term, value], at) => {
    if (!place.children[2 * at]) place.append(el("dt"), el("dd"));
    setText(place.children[2 * at], term);
    setText(place.children[2 * at + 1], value);
  });
}
