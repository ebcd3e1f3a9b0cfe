/** Relates the files of a folder to each other, by one request that is continued if it breaks. */

import { Failure, stream } from "../api.js";
import { byId, el } from "../dom.js";
import { showGraph } from "../graph/viewer.js";
import { counted, list, milliseconds } from "../words.js";
import { copyAsCurl } from "./curl.js";
import { download } from "./download.js";
import { exported } from "./graph_export.js";
import { failure } from "./outcome.js";
import { chosen, dropped, readTexts } from "./read_files.js";

const MAX_FILES = 500;
const PATH = "v1/graph";
/** @type {Record<string, string>} */
const STAGES = {
  passages: "Dividing the files into passages",
  embed: "Computing vectors",
  candidates: "Looking for related passages",
  rerank: "Sorting by relevance",
  classify: "Classifying relations",
};

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
  const largest = (status()?.limits.max_body_bytes ?? 8 * 2 ** 20) / 4;
  const { taken, skipped } = await readTexts(files, MAX_FILES, largest);
  const notes = skipped.length > 0 ? [el("p", { class: "hint" }, `Skipped: ${list(skipped)}.`)] : [];
  if (taken.length < 2) {
    show(el("p", { class: "empty", role: "status" }, "At least two text files are needed to relate them."), ...notes);
    return;
  }
  const progress = progressOf(taken.length, stop);
  show(progress.element);
  const started = performance.now();
  const body = { documents: taken.map(({ name, text }) => ({ id: name, path: name, text })) };
  const { edges, refused } = await collect(body, stop.signal, progress.update);
  if (refused.length > 0) notes.push(refusedNote(refused));
  const graph = {
    documents: taken.map((file) => file.name),
    relations: Object.keys(status()?.relations ?? {}),
    no_relation: status()?.no_relation ?? null,
    edges,
    refused,
  };
  const place = el("div", { class: "graph-place" });
  show(
    el("p", { class: "route", role: "status" }, `Related ${counted(taken.length, "file")} in ${milliseconds(performance.now() - started)}.`),
    ...notes,
    place,
    downloads(graph),
    copyAsCurl(PATH, body),
  );
  showGraph(place, graph);
}

/**
 * Reads the stream. If it breaks, it is continued without the documents that are done, as long as it gets further.
 * @param {{documents: {id: string}[]}} body
 * @param {AbortSignal} signal
 * @param {(stage: string, done: number, total: number) => void} onProgress
 */
async function collect(body, signal, onProgress) {
  /** @type {Set<string>} */
  const done = new Set();
  /** @type {Map<string, any>} */
  const refused = new Map();
  let edges = /** @type {any[]} */ ([]);
  for (;;) {
    const before = done.size;
    try {
      const asked = done.size > 0 ? { ...body, done: [...done] } : body;
      for await (const line of stream(PATH, asked, signal)) {
        if (line.event === "edge") edges.push(line);
        else if (line.event === "document_done") done.add(line.id);
        else if (line.event === "refused_document") refused.set(line.id, line);
        else if (line.event === "progress") onProgress(line.stage, line.done, line.total);
        else if (line.event === "error") throw new Failure(`The service stopped: ${line.error?.message ?? line.error}`, 0);
        else if (line.event === "summary") return { edges, refused: [...refused.values()] };
      }
      throw new Failure("The connection to the service broke.", 0);
    } catch (error) {
      if (!(error instanceof Failure) || done.size === before) throw error;
      edges = edges.filter((edge) => done.has(edge.source)); // the others come again
    }
  }
}

/**
 * @param {number} total
 * @param {AbortController} stop
 */
function progressOf(total, stop) {
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Progress of this step" });
  const text = el("p", { class: "muted" }, `Sending ${counted(total, "file")}.`);
  const button = el("button", { type: "button" }, "Stop");
  const element = el("div", { class: "working" }, text, bar, el("div", { class: "actions" }, button));
  button.addEventListener("click", () => {
    stop.abort();
    element.replaceChildren(el("p", { role: "status" }, "Stopped."));
  });
  return {
    element,
    /**
     * @param {string} stage
     * @param {number} done
     * @param {number} all
     */
    update(stage, done, all) {
      bar.setAttribute("max", String(Math.max(1, all)));
      bar.setAttribute("value", String(done));
      text.textContent = `${STAGES[stage] ?? stage}: ${done} of ${all}`;
    },
  };
}

/** @param {{id: string | null, error: any}[]} refused */
function refusedNote(refused) {
  const items = refused.map(({ id, error }) => el("li", {}, `${id ?? "a file"}: ${error?.message ?? error}`));
  return el("details", { class: "refused" }, el("summary", {}, `${counted(refused.length, "file")} refused`), el("ul", {}, ...items));
}

/** @param {any} graph */
function downloads(graph) {
  const json = el("button", { type: "button" }, "Download JSON");
  json.addEventListener("click", () => download("graph.json", "application/json", JSON.stringify(graph, null, 2)));
  const html = el("button", { type: "button" }, "Download HTML");
  html.addEventListener("click", async () => download("graph.html", "text/html", await exported(graph)));
  return el("div", { class: "actions" }, json, html);
}
