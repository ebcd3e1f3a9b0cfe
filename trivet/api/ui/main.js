/** Starts the page: wires the controls, follows the status, opens the playground. */

import { Failure, getStatus, useKey } from "./api.js";
import { byId, setAttribute, setText } from "./dom.js";
import { wirePlayground } from "./playground/playground.js";
import { poll } from "./poll.js";
import { showStatus } from "./status/status.js";
import { wireTabs } from "./tabs.js";
import { wireTheme } from "./theme.js";
import { clock } from "./words.js";

/** The last status, for the playground: relations in their order, limits, whether the GPU is simulated. @type {any} */
let latest = null;

wireTheme(byId("theme"));
wireTabs(byId("tabs"));
wirePlayground(() => latest);

const live = byId("live");

/**
 * @param {"live" | "lost"} state
 * @param {string} text
 */
function sayLive(state, text) {
  setAttribute(live, "data-state", state);
  setText(byId("live-text"), text);
  setAttribute(byId("status-body"), "data-stale", state === "lost" ? "" : null);
}

/** @param {unknown} error */
function sayLost(error) {
  if (!(error instanceof Failure)) throw error;
  byId("key-form").hidden = error.status !== 401;
  sayLive("lost", error.status === 401 ? "waiting for a key" : "no answer");
  if (latest === null) {
    setText(byId("headline"), error.status === 401 ? "The service asks for a key." : "The service does not tell its state.");
    setText(byId("why"), error.message);
  } else {
    setText(byId("why"), `${error.message} What you see is from ${clock(latest.at_s)}.`);
  }
}

const polling = poll(
  getStatus,
  (status) => {
    latest = status;
    byId("key-form").hidden = true;
    sayLive("live", "live");
    showStatus(status);
  },
  sayLost,
);

byId("key-form").addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  byId("key").value = "";
  polling.now();
});
