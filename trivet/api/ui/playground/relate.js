/** Relates a source to candidates: which of them it depends on, expands on or contradicts. */

import { post } from "../api.js";
import { byId, el } from "../dom.js";
import { counted, list } from "../words.js";
import { copyAsCurl } from "./curl.js";
import { fan } from "./graph_fan.js";
import { entries, onSend, routeNote } from "./outcome.js";
import { chosen, readTexts } from "./read_files.js";
import { redrawn } from "./redrawn.js";
import { legend, looks, relationsTable } from "./relations.js";

const MAX_DRAWN = 12;
const MAX_FILES = 500;
const LARGEST_BYTES = 2 ** 20;

/** @typedef {import("./read_files.js").TextFile} TextFile */

/** @param {() => any} status */
export function wireRelate(status) {
  const source = fileFor(byId("relate-source-file"), byId("relate-source"));
  const files = filesFor(byId("relate-files"), byId("relate-candidates"), byId("relate-chosen"));
  onSend(byId("relate-form"), byId("relate-outcome"), async () => {
    const { name, text } = source();
    const candidates = files() ?? entries(byId("relate-candidates").value).map((entry) => ({ name: null, text: entry }));
    // No thresholds, so that weak results are shown too; each has its confidence.
    const body = {
      source: text,
      candidates: candidates.map((one) => one.text),
      // Imports are resolved by paths.
      ...(name !== null && { source_path: name }),
      ...(files() !== null && { candidate_paths: candidates.map((one) => one.name) }),
      top_k: MAX_DRAWN,
      min_relevance: 0,
      threshold: 0,
    };
    const { answer, route } = await post("v1/relations", body);
    const edges = answer.edges.map((/** @type {any} */ edge) => {
      const candidate = candidates[edge.target_index];
      const shown = candidate.name ?? candidate.text;
      return { text: shown, to: shown, relation: edge.relation, confidence: edge.confidence, relevance: edge.relevance };
    });
    const note = routeNote(route, status());
    const curl = copyAsCurl("v1/relations", body);
    const { unlinked_code: unlinked, beyond_top_k: beyond } = answer.omitted;
    const unread = unlinked > 0 && el("p", { class: "hint" }, `${counted(unlinked, "candidate")} of code that the source does not use: not read.`);
    const known = looks(status(), edges);
    const found = [
      legend(known, edges),
      redrawn((width) => fan(name ?? text, edges, known, width)),
      beyond > 0 && el("p", { class: "hint" }, `The ${MAX_DRAWN} most relevant candidates are drawn; ${counted(beyond, "other")} omitted.`),
      relationsTable(edges, known),
    ];
    const nothing = [el("p", { class: "empty" }, "No candidate is related to the source.")];
    return [note, ...(edges.length === 0 ? nothing : found), unread, curl].filter((part) => part instanceof Node);
  });
}

/**
 * Fills a text area with a chosen file, and returns its text with the file's name, which is null once it was edited.
 * @param {any} input
 * @param {any} area
 * @returns {() => {name: string | null, text: string}}
 */
function fileFor(input, area) {
  /** @type {{name: string | null, text: string}} */
  let last = { name: null, text: "" };
  input.addEventListener("change", async () => {
    const { taken, skipped } = await readTexts(chosen(input.files), 1, LARGEST_BYTES);
    input.value = ""; // so that the same file can be chosen again
    area.setCustomValidity(taken.length === 0 ? `The file is not used: ${list(skipped)}.` : "");
    if (taken.length === 0) {
      area.reportValidity();
      return;
    }
    area.value = taken[0].text;
    last = { name: taken[0].name, text: area.value }; // the area changes line breaks
  });
  area.addEventListener("input", () => area.setCustomValidity(""));
  return () => ({ name: area.value === last.text ? last.name : null, text: area.value.trim() });
}

/**
 * Replaces a text area by chosen files until they are removed, and returns them; null where there are none.
 * @param {any} input
 * @param {any} area
 * @param {HTMLElement} place
 * @returns {() => TextFile[] | null}
 */
function filesFor(input, area, place) {
  /** @type {TextFile[] | null} */
  let files = null;

  /** @param {TextFile[]} taken @param {string[]} skipped */
  function show(taken, skipped) {
    files = taken.length > 0 ? taken : null;
    area.hidden = files !== null;
    area.required = files === null;
    const remove = el("button", { type: "button" }, "Remove the files");
    remove.addEventListener("click", () => {
      show([], []);
      area.focus();
    });
    const names = taken.length > 0 && el("p", {}, `${counted(taken.length, "file")}: ${list(taken.map((file) => file.name))}`);
    const notes = skipped.length > 0 && el("p", { class: "hint" }, `Skipped: ${list(skipped)}.`);
    place.replaceChildren(...[names, notes, files && remove].filter((part) => part instanceof Node));
  }

  input.addEventListener("change", async () => {
    const { taken, skipped } = await readTexts(chosen(input.files), MAX_FILES, LARGEST_BYTES);
    input.value = "";
    show(taken, skipped);
  });
  return () => files;
}
