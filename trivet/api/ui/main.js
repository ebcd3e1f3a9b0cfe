/** Starts the page: connects the controls, polls the status, and sets up the playground. */

import { Failure, getStatus, useKey } from "./api.js";
import { byId, setAttribute, setText } from "./dom.js";
import { wirePlayground } from "./playground/playground.js";
import { poll } from "./poll.js";
import { showStatus } from "./status/status.js";
import { wireTabs } from "./tabs.js";
import { wireTheme } from "./theme.js";
import { clock } from "./words.js";

/** The last status, which the playground needs for relations, limits, and whether the GPU is simulated. @type {any} */
let latest = null;

wireTheme(byId("theme"));
wireTabs(byId("tabs"));
wirePlayground(() => latest);

const live = byId("live");

/**
 * @param {"live" | "lost"} state
 * @param {string} text
 */
function showLive(state, text) {
  setAttribute(live, "data-state", state);
  setText(byId("live-text"), text);
  setAttribute(byId("status-body"), "data-stale", state === "lost" ? "" : null);
}

/** @param {unknown} error */
function showLost(error) {
  if (!(error instanceof Failure)) throw error;
  byId("key-form").hidden = error.status !== 401;
  showLive("lost", error.status === 401 ? "key required" : "no answer");
  if (latest === null) {
    setText(byId("headline"), error.status === 401 ? "The service requires a key." : "The state of the service is unknown.");
    setText(byId("why"), error.message);
  } else {
    setText(byId("why"), `${error.message} The data shown is from ${clock(latest.at_s)}.`);
  }
}

const polling = poll(
  getStatus,
  (status) => {
    latest = status;
    byId("key-form").hidden = true;
    showLive("live", "live");
    showStatus(status);
  },
  showLost,
);

byId("key-form").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  byId("key").value = "";
  polling.now();
});
