/** One GPU's memory as a bar: our models, other processes, and free memory, with both thresholds. */

import { el, setAttribute, setText } from "../dom.js";
import { bytes, duration, list, TASKS, title } from "../words.js";

const STALE_S = 3;

/**
 * @param {number} index Distinguishes the headings of several GPUs.
 * @returns {{element: HTMLElement, update: (gpu: any, status: any) => void}}
 */
export function memoryPanel(index) {
  const heading = `memory-${index}`;
  const badge = el("span", { class: "badge", hidden: true }, "simulated");
  const device = el("span", { class: "device" });
  const sum = el("span", { class: "sum" });
  const track = el("div", { class: "bar-track" });
  const reroute = el("span", { class: "mark", "data-mark": "reroute" });
  const resume = el("span", { class: "mark", "data-mark": "resume" });
  const bar = el("div", { class: "bar", role: "img" }, track, reroute, resume);
  const legend = el("ul", { class: "legend" });
  const note = el("p", { class: "hint note" });
  const element = el(
    "section",
    { class: "card memory", "aria-labelledby": heading },
    el("div", { class: "memory-head" }, el("h2", { id: heading }, "GPU memory"), badge, device, sum),
    bar,
    legend,
    note,
  );

  const parts = new Map();
  for (const task of TASKS) {
    parts.set(task, el("span", { class: "bar-part", "data-of": task }));
    parts.set(`${task} kept`, el("span", { class: "bar-part", "data-of": task, "data-kept": "" }));
  }
  parts.set("external", el("span", { class: "bar-part", "data-of": "external" }));
  track.append(...parts.values());

  return {
    element,
    update(gpu, status) {
      badge.hidden = !gpu.simulated;
      setText(device, gpu.device);
      const unread = gpu.unknown_reason !== null;
      bar.hidden = unread;
      legend.hidden = unread;
      setText(note, noteOf(gpu));
      note.hidden = note.textContent === "";
      if (unread) {
        setText(sum, "");
        return;
      }
      const sizes = sizesOf(gpu);
      for (const [name, part] of parts) part.style.width = percent(sizes.get(name) ?? 0, gpu);
      reroute.style.left = percent(gpu.total_bytes - status.policy.reroute_below_bytes, gpu);
      resume.style.left = percent(gpu.total_bytes - status.policy.resume_above_bytes, gpu);
      setText(sum, `${bytes(gpu.free_bytes)} free of ${bytes(gpu.total_bytes)}`);
      setAttribute(bar, "aria-label", spoken(gpu));
      showLegend(legend, gpu, status);
    },
  };
}

/**
 * @param {number} size
 * @param {any} gpu
 */
const percent = (size, gpu) => `${((100 * Math.max(0, size)) / gpu.total_bytes).toFixed(3)}%`;

/** Memory of other processes; if it is unknown, all memory that is neither free nor ours. @param {any} gpu */
function externalBytes(gpu) {
  const ours = Object.values(gpu.ours_bytes).reduce((sum, size) => sum + /** @type {number} */ (size), 0);
  return gpu.external_bytes ?? Math.max(0, gpu.total_bytes - gpu.free_bytes - ours);
}

/** The models of an Ollama server, which are part of the other processes' memory. @param {any} gpu */
const tenantsOf = (gpu) =>
  (gpu.tenants ?? []).map((/** @type {any} */ tenant) => `including ${tenant.name} ${bytes(tenant.vram_bytes)}`);

/** @param {any} gpu */
function sizesOf(gpu) {
  const sizes = new Map();
  for (const task of TASKS) {
    const ours = gpu.ours_bytes[task] ?? 0;
    const kept = Math.min(ours, gpu.reusable_bytes[task] ?? 0);
    sizes.set(task, ours - kept);
    sizes.set(`${task} kept`, kept);
  }
  sizes.set("external", externalBytes(gpu));
  return sizes;
}

/** @param {any} gpu */
function spoken(gpu) {
  const ours = TASKS.filter((task) => gpu.ours_bytes[task]).map((task) => `${task} ${bytes(gpu.ours_bytes[task])}`);
  return `${bytes(gpu.total_bytes)} in total: ${list([...ours, `other processes ${bytes(externalBytes(gpu))}`, `free ${bytes(gpu.free_bytes)}`])}`;
}

/**
 * @param {HTMLElement} legend
 * @param {any} gpu
 * @param {any} status
 */
function showLegend(legend, gpu, status) {
  /** @type {[string, string, string, string][]} */
  const entries = [
    ...TASKS.filter((task) => gpu.ours_bytes[task]).map(
      (task) => /** @type {[string, string, string, string]} */ (["swatch", task, title(task), bytes(gpu.ours_bytes[task])]),
    ),
    ["swatch", "external", "Other processes", [bytes(externalBytes(gpu)), ...tenantsOf(gpu)].join(", ")],
    ["swatch", "free", "Free", bytes(gpu.free_bytes)],
    ["tick", "reroute", "Models leave the GPU at", `less than ${bytes(status.policy.reroute_below_bytes)} free`],
    ["tick", "resume", "Models return at", `more than ${bytes(status.policy.resume_above_bytes)} free`],
  ];
  while (legend.children.length > entries.length) legend.lastElementChild?.remove();
  entries.forEach(([shape, of, name, value], at) => {
    let item = legend.children[at];
    if (!item) {
      item = el("li", {}, el("span"), el("span", {}, el("span"), " ", el("b")));
      legend.append(item);
    }
    const [key, words] = item.children;
    const [label, figure] = words.children;
    setAttribute(key, "class", shape);
    setAttribute(key, shape === "tick" ? "data-mark" : "data-of", of);
    setText(label, name);
    setText(figure, value);
  });
}

/** @param {any} gpu */
function noteOf(gpu) {
  const notes = [];
  if (gpu.unknown_reason !== null) notes.push(`The GPU cannot be read: ${gpu.unknown_reason}.`);
  if (gpu.age_s !== null && gpu.age_s > STALE_S) notes.push(`The last reading is ${duration(gpu.age_s)} old.`);
  if (gpu.attribution_note) notes.push(`The split between our models and other processes is an estimate: ${gpu.attribution_note}.`);
  const visible = gpu.total_bytes / 200; // smaller parts are invisible in the bar
  if (gpu.unknown_reason === null && Object.values(gpu.reusable_bytes).some((size) => /** @type {number} */ (size) > visible)) {
    notes.push("The paler part of a colour is memory that a model's process has cached; it counts as free for that model.");
  }
  if (gpu.simulated) {
    notes.push("This GPU is simulated: its memory is accounted for like that of a real GPU, and the work runs on the CPU.");
  }
  return notes.join(" ");
}
