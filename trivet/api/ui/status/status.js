/** Shows one answer of `/v1/status`. */

import { byId, setText } from "../dom.js";
import { headline, headlineWhy, TASKS } from "../words.js";
import { memoryPanel } from "./memory.js";
import { modelCard } from "./models.js";
import { showReroutes } from "./reroutes.js";
import { showRules } from "./rules.js";

/** @type {{element: HTMLElement, update: (gpu: any, status: any) => void}[]} */
const panels = [];
/** @type {Record<string, {element: HTMLElement, update: (model: any, status: any) => void}>} */
const models = {};

/** @param {any} status */
export function showStatus(status) {
  setText(byId("headline"), headline(status));
  setText(byId("why"), headlineWhy(status));
  setText(byId("version"), status.version);
  showGpus(status);
  for (const task of TASKS) {
    if (!models[task]) {
      models[task] = modelCard(task);
      byId("models").append(models[task].element);
    }
    models[task].update(status.models[task], status);
  }
  showReroutes(byId("reroutes"), status);
  showRules(byId("rules-body"), status);
  byId("status-body").hidden = false;
}

/** @param {any} status */
function showGpus(status) {
  while (panels.length > status.gpus.length) panels.pop()?.element.remove();
  status.gpus.forEach((/** @type {any} */ gpu, /** @type {number} */ index) => {
    if (!panels[index]) {
      panels[index] = memoryPanel(index);
      byId("gpus").append(panels[index].element);
    }
    panels[index].update(gpu, status);
  });
  byId("gpus").hidden = panels.length === 0;
}
