/** Formats numbers and decisions as human-readable text. Pure. */

export const TASKS = ["embedder", "reranker", "classifier"];

/** @type {Record<string, string>} */
const TITLES = { embedder: "Embedder", reranker: "Reranker", classifier: "Classifier" };

/** @param {string} task */
export const title = (task) => TITLES[task] ?? task;

/** @param {number} bytes */
export function bytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = Math.abs(bytes);
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const digits = unit >= 3 && size < 100 ? 1 : 0;
  return `${bytes < 0 ? "-" : ""}${size.toFixed(digits).replace(/\.0$/, "")} ${units[unit]}`;
}

/** @param {number} number */
export const count = (number) => number.toLocaleString("en", { maximumFractionDigits: 0 });

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** @param {number | null} milliseconds */
export function milliseconds(milliseconds) {
  if (milliseconds === null) return "none yet";
  if (milliseconds >= 9950) return `${(milliseconds / 1000).toFixed(0)} s`;
  if (milliseconds >= 995) return `${(milliseconds / 1000).toFixed(1)} s`;
  return milliseconds >= 9.95 ? `${milliseconds.toFixed(0)} ms` : `${milliseconds.toFixed(1)} ms`;
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return counted(Math.round(seconds), "second");
  if (seconds < 5400) return counted(Math.round(seconds / 60), "minute");
  return counted(Math.round(seconds / 3600), "hour");
}

/** @param {number} unixSeconds */
export const clock = (unixSeconds) => new Date(unixSeconds * 1000).toLocaleTimeString("en-GB");

/** @param {string[]} items */
export const list = (items) => new Intl.ListFormat("en", { type: "conjunction" }).format(items);

/** Formats a number between 0 and 1: 0.97. @param {number} share */
export const share = (share) => share.toFixed(2);

/** The name of the GPU; a simulated one is always called simulated. @param {any} status */
export const gpu = (status) =>
  status?.gpus.some((/** @type {any} */ gpu) => gpu.simulated) ? "simulated GPU" : "GPU";

/**
 * Explains where this model's next request goes. Contains no number that changes without a new decision, so that a
 * screen reader announces only decisions.
 * @param {any} model
 * @param {any} status
 */
export function why(model, status) {
  const needed = bytes(status.policy.reroute_below_bytes);
  const enough = bytes(status.policy.resume_above_bytes);
  const device = gpu(status);
  switch (model.cause) {
    case "room":
      return `There is enough memory on the ${device}.`;
    case "starting":
      return `The ${device} has not been read yet, so requests go to the CPU until the first reading.`;
    case "low_memory":
      return (
        `The ${device} has too little free memory (a model needs at least ${needed}), so requests go to the CPU. ` +
        `They return automatically once ${enough} is free.`
      );
    case "no_reading":
      return (
        `The memory of the ${device} could not be read for more than ${duration(status.policy.grace_s)}, ` +
        "so requests go to the CPU until it can."
      );
    case "absent":
      return `No process of this model is running on the ${device}, so requests go to the CPU until one has started.`;
    case "dwell":
      return (
        `There is enough memory on the ${device} again. Requests stay on the CPU for at least ` +
        `${duration(status.policy.dwell_s)}, so that they do not flap between the devices.`
      );
    case "offloaded":
      return (
        `Memory was short for too long, so the weights of this model were offloaded from the ${device}. ` +
        `They are reloaded once they fit with ${enough} to spare; until then requests go to the CPU.`
      );
    case "unusable":
      return `The ${device} cannot compute this model right, so requests go to the CPU. The log and /readyz say why.`;
    case "stuck":
      return (
        `The process of this model on the ${device} does not answer at the moment, so requests go to the CPU ` +
        "until it does."
      );
    case "reloading":
      return `There is enough memory again, and the weights are being reloaded to the ${device}. Requests go to the CPU until they are loaded.`;
    default:
      return status.cpu_only_reason ?? "Only the CPU is available.";
  }
}

/**
 * Summarises the state of all models in one sentence.
 * @param {any} status
 */
export function headline(status) {
  const silent = TASKS.filter((task) => !answers(status.models[task]));
  if (silent.length === TASKS.length) return "The models are starting.";
  if (silent.length > 0) return `The ${list(silent)} ${silent.length > 1 ? "are" : "is"} not ready yet.`;
  const here = TASKS.filter((task) => status.models[task].lane === "gpu");
  const away = TASKS.filter((task) => status.models[task].lane === "cpu");
  if (away.length === 0) return `All three models run on the ${gpu(status)}.`;
  if (here.length === 0) return "All three models run on the CPU.";
  return `The ${list(here)} ${here.length > 1 ? "run" : "runs"} on the ${gpu(status)}, the ${list(away)} on the CPU.`;
}

/**
 * The reasons for the headline, without repetition.
 * @param {any} status
 */
export function headlineWhy(status) {
  const away = TASKS.filter((task) => status.models[task].lane === "cpu");
  if (away.length === 0) {
    return "If its memory runs short, requests move to the CPU, and this page shows when and why.";
  }
  return [...new Set(away.map((task) => why(status.models[task], status)))].join(" ");
}

/** Whether a model has a lane that is ready. @param {any} model */
export const answers = (model) => Object.values(model.lanes).some((lane) => /** @type {any} */ (lane).ready);
