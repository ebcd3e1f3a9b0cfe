/** Talks to the service, and says in words what goes wrong. Paths are relative: the page may live under a prefix. */

const KEY = "trivet-key";

/** A failure that can be shown as it is. `status` is 0 where nobody answered. */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** @param {string} key Kept for this tab only. */
export const useKey = (key) => sessionStorage.setItem(KEY, key);

/** @returns {Record<string, string>} */
function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** @param {AbortSignal} [signal] */
export async function getStatus(signal) {
  const response = await send("../v1/status", { headers: headers(), signal });
  return response.json();
}

/**
 * @param {string} path Such as "v1/rerank".
 * @param {unknown} body
 * @param {AbortSignal} [signal]
 * @returns {Promise<{answer: any, route: Route}>}
 */
export async function post(path, body, signal) {
  const started = performance.now();
  const response = await send(`../${path}`, {
    method: "POST",
    // no-store: what people paste is not kept, and each press of a button shows where work goes now.
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers() },
    body: JSON.stringify(body),
    signal,
  });
  const answer = await response.json();
  return {
    answer,
    route: {
      device: response.headers.get("x-trivet-device") ?? "an unnamed device",
      reason: response.headers.get("x-trivet-reroute-reason"),
      truncated: Number(response.headers.get("x-trivet-truncated") ?? 0),
      milliseconds: performance.now() - started,
    },
  };
}

/**
 * How a request was served.
 * @typedef {{device: string, reason: string | null, truncated: number, milliseconds: number}} Route
 */

/**
 * @param {string} url
 * @param {RequestInit} options
 */
async function send(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Failure("The service does not answer. Is it still running?", 0);
  }
  if (!response.ok) throw new Failure(await complaint(response), response.status);
  return response;
}

/** @param {Response} response */
async function complaint(response) {
  const text = await response.text();
  let said = "";
  try {
    said = JSON.parse(text).error?.message ?? "";
  } catch {
    said = text.slice(0, 200); // a proxy's page, or nothing: shown as it came
  }
  const again = response.headers.get("retry-after");
  const later = again ? ` Try again in ${again} s.` : "";
  switch (response.status) {
    case 401:
      return "The service asks for a key, and has not been given a valid one.";
    case 413:
      return `That is more than the service takes in one request. ${said}`;
    case 429:
      return `The service is busy: ${said || "too much is waiting already"}.${later}`;
    case 503:
      return `No model can answer at the moment: ${said || "it is still starting"}.${later}`;
    default:
      return said ? `The service refused: ${said}` : `The service answered with status ${response.status}.`;
  }
}
