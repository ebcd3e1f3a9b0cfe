/** One card's memory as a bar: ours by model, the rest of the world, and what is free, with both thresholds. */

import { el, setAttribute, setText } from "../dom.js";
import { bytes, duration, list, TASKS, title } from "../words.js";

const STALE_S = 3;

/**
 * @param {number} index Tells several cards' headings apart.
 * @returns {{element: HTMLElement, update: (card: any, status: any) => void}}
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
  parts.set("foreign", el("span", { class: "bar-part", "data-of": "foreign" }));
  track.append(...parts.values());

  return {
    element,
    update(card, status) {
      badge.hidden = !card.simulated;
      setText(device, card.device);
      const unread = card.unknown_reason !== null;
      bar.hidden = unread;
      legend.hidden = unread;
      setText(note, noteOf(card));
      note.hidden = note.textContent === "";
      if (unread) {
        setText(sum, "");
        return;
      }
      const sizes = sizesOf(card);
      for (const [name, part] of parts) part.style.width = percent(sizes.get(name) ?? 0, card);
      reroute.style.left = percent(card.total_bytes - status.policy.reroute_below_bytes, card);
      resume.style.left = percent(card.total_bytes - status.policy.resume_above_bytes, card);
      setText(sum, `${bytes(card.free_bytes)} free of ${bytes(card.total_bytes)}`);
      setAttribute(bar, "aria-label", spoken(card));
      showLegend(legend, card, status);
    },
  };
}

/**
 * @param {number} size
 * @param {any} card
 */
const percent = (size, card) => `${((100 * Math.max(0, size)) / card.total_bytes).toFixed(3)}%`;

/** What everybody but us holds; where it cannot be told apart, whatever is neither free nor ours. @param {any} card */
function foreignBytes(card) {
  const ours = Object.values(card.ours_bytes).reduce((sum, size) => sum + /** @type {number} */ (size), 0);
  return card.foreign_bytes ?? Math.max(0, card.total_bytes - card.free_bytes - ours);
}

/** Who the other programs' memory belongs to, as far as a neighbour says. @param {any} card */
const tenantsOf = (card) =>
  (card.tenants ?? []).map((/** @type {any} */ tenant) => `of it ${tenant.name} ${bytes(tenant.vram_bytes)}`);

/** @param {any} card */
function sizesOf(card) {
  const sizes = new Map();
  for (const task of TASKS) {
    const ours = card.ours_bytes[task] ?? 0;
    const kept = Math.min(ours, card.reusable_bytes[task] ?? 0);
    sizes.set(task, ours - kept);
    sizes.set(`${task} kept`, kept);
  }
  sizes.set("foreign", foreignBytes(card));
  return sizes;
}

/** @param {any} card */
function spoken(card) {
  const ours = TASKS.filter((task) => card.ours_bytes[task]).map((task) => `${task} ${bytes(card.ours_bytes[task])}`);
  return `${bytes(card.total_bytes)} in all: ${list([...ours, `other programs ${bytes(foreignBytes(card))}`, `free ${bytes(card.free_bytes)}`])}`;
}

/**
 * @param {HTMLElement} legend
 * @param {any} card
 * @param {any} status
 */
function showLegend(legend, card, status) {
  /** @type {[string, string, string, string][]} */
  const entries = [
    ...TASKS.filter((task) => card.ours_bytes[task]).map(
      (task) => /** @type {[string, string, string, string]} */ (["swatch", task, title(task), bytes(card.ours_bytes[task])]),
    ),
    ["swatch", "foreign", "Other programs", [bytes(foreignBytes(card)), ...tenantsOf(card)].join(", ")],
    ["swatch", "free", "Free", bytes(card.free_bytes)],
    ["tick", "reroute", "Filled past this line, models leave:", `less than ${bytes(status.policy.reroute_below_bytes)} free`],
    ["tick", "resume", "Filled no further than this, they return:", `more than ${bytes(status.policy.resume_above_bytes)} free`],
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

/** @param {any} card */
function noteOf(card) {
  const notes = [];
  if (card.unknown_reason !== null) notes.push(`The card cannot be read: ${card.unknown_reason}.`);
  if (card.age_s !== null && card.age_s > STALE_S) notes.push(`The last news of it is ${duration(card.age_s)} old.`);
  if (card.attribution_note) notes.push(`Ours and others' are told apart less than exactly: ${card.attribution_note}.`);
  const visible = card.total_bytes / 200; // less of it cannot be seen in the bar
  if (card.unknown_reason === null && Object.values(card.reusable_bytes).some((size) => /** @type {number} */ (size) > visible)) {
    notes.push("The paler part of a colour is memory that a model's process keeps ready: to that model it counts as free.");
  }
  if (card.simulated) {
    notes.push("This card is simulated: its memory is counted as a real one's would be, and the work runs on the CPU.");
  }
  return notes.join(" ");
}
