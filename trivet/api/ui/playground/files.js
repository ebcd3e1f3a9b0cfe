/** Relates each file of a folder to the most relevant other files, with one request per file. */

import { post } from "../api.js";
import { byId, el } from "../dom.js";
import { counted, list } from "../words.js";
import { circle } from "./graph_circle.js";
import { failure, routeNote } from "./outcome.js";
import { chosen, dropped, readTexts } from "./read_files.js";
import { redrawn } from "./redrawn.js";
import { legend, looks, relationsTable } from "./relations.js";

const MAX_FILES = 24;
const PARTNERS = 3;

/** @param {() => any} status */
export function wireFiles(status) {
  const place = byId("files-outcome");
  const zone = byId("files-drop");
  /** Stops the previous run if it is still going. */
  let stop = new AbortController();

  /** @param {Promise<import("./read_files.js").NamedFile[]> | import("./read_files.js").NamedFile[]} files */
  async function take(files) {
    stop.abort();
    const mine = (stop = new AbortController());
    const show = (/** @type {Node[]} */ ...nodes) => {
      if (!mine.signal.aborted) place.replaceChildren(...nodes);
    };
    try {
      await relateFiles(await files, status, mine, show);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "AbortError")) show(failure(error));
    }
  }

  for (const id of ["files-pick", "files-folder"]) {
    byId(id).addEventListener("change", (/** @type {any} */ event) => {
      take(chosen(event.target.files));
      event.target.value = ""; // so that the same folder can be chosen again
    });
  }
  zone.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    zone.setAttribute("data-over", "");
  });
  zone.addEventListener("dragleave", () => zone.removeAttribute("data-over"));
  zone.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    zone.removeAttribute("data-over");
    if (event.dataTransfer) take(dropped(event.dataTransfer));
  });
}

/**
 * @param {import("./read_files.js").NamedFile[]} files
 * @param {() => any} status
 * @param {AbortController} stop
 * @param {(...nodes: Node[]) => void} show
 */
async function relateFiles(files, status, stop, show) {
  const largest = (status()?.limits.max_body_bytes ?? 8 * 2 ** 20) / MAX_FILES;
  const { taken, skipped } = await readTexts(files, MAX_FILES, largest);
  const skippedNote = skipped.length > 0 ? el("p", { class: "hint" }, `Skipped: ${list(skipped)}.`) : null;
  if (taken.length < 2) {
    const tooFew = el("p", { class: "empty", role: "status" }, "At least two text files are needed to relate them.");
    show(...[tooFew, skippedNote].filter((node) => node !== null));
    return;
  }
  const progress = progressOf(taken.length, stop);
  show(progress.element);
  const found = [];
  let route = null;
  let reason = null;
  const started = performance.now();
  for (const [at, { name, text }] of taken.entries()) {
    progress.update(at, name);
    const others = taken.map((_, other) => other).filter((other) => other !== at);
    const reply = await post(
      "v1/relations",
      { source: text, candidates: others.map((other) => taken[other].text), top_k: PARTNERS },
      stop.signal,
    );
    route = reply.route;
    reason ??= reply.route.reason;
    for (const edge of reply.answer.edges) found.push({ ...edge, from: at, to: others[edge.target_index] });
  }
  if (route) route = { ...route, reason, milliseconds: performance.now() - started };
  show(...result(taken.map((file) => file.name), found, route, status(), skippedNote));
}

/**
 * @param {number} total
 * @param {AbortController} stop
 */
function progressOf(total, stop) {
  const bar = el("progress", { max: total, value: 0, "aria-label": "Files related so far" });
  const text = el("p", { class: "muted" });
  const button = el("button", { type: "button" }, "Stop");
  const element = el("div", { class: "working" }, text, bar, el("div", { class: "actions" }, button));
  button.addEventListener("click", () => {
    stop.abort();
    element.replaceChildren(el("p", { role: "status" }, "Stopped."));
  });
  return {
    element,
    /**
     * @param {number} done
     * @param {string} name
     */
    update(done, name) {
      bar.setAttribute("value", String(done));
      text.textContent = `File ${done + 1} of ${total}: ${name}`;
    },
  };
}

/**
 * @param {string[]} names
 * @param {any[]} edges
 * @param {import("../api.js").Route | null} route
 * @param {any} status
 * @param {Node | null} skippedNote
 */
function result(names, edges, route, status, skippedNote) {
  const known = looks(status, edges);
  edges.sort((one, other) => other.confidence - one.confidence);
  const related = edges.filter((edge) => !known.get(edge.relation)?.absent);
  const rows = related.map((edge) => ({ ...edge, from: names[edge.from], to: names[edge.to] }));
  const unrelated = edges.length - related.length;
  const summary =
    `${counted(names.length, "file")}, ${counted(related.length, "relation")}` +
    (unrelated > 0 ? `; ${counted(unrelated, "pair")} compared and found unrelated.` : ".");
  return [
    route ? routeNote(route, status) : null,
    el("p", {}, summary),
    skippedNote,
    related.length > 0 ? legend(known, related) : null,
    redrawn((width) => circle(names, related, known, width)),
    rows.length > 0 ? relationsTable(rows, known, { from: "From", to: "To" }) : null,
  ].filter((node) => node !== null);
}
