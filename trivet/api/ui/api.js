/** Calls the service, and turns failures into sentences. Paths are relative, since the page may be under a prefix. */

const KEY = "trivet-key";

/** A failure whose message can be shown to the user. `status` is 0 if there was no answer. */
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

/** Whether the user has entered a key. */
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

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

/** A file of the page. @param {string} name */
export const getText = async (name) => (await send(name, {})).text();

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
    // no-store: pasted text is not cached, and each request shows the current route.
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers() },
    body: JSON.stringify(body),
    signal,
  });
  const answer = await response.json();
  return {
    answer,
    route: {
      device: response.headers.get("x-trivet-device") ?? "an unknown device",
      reason: response.headers.get("x-trivet-reroute-reason"),
      truncated: Number(response.headers.get("x-trivet-truncated") ?? 0),
      milliseconds: performance.now() - started,
    },
  };
}

/**
 * Sends a request whose answer is JSON lines, and yields each of them as it arrives.
 * @param {string} path
 * @param {unknown} body
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<any>}
 */
export async function* stream(path, body, signal) {
  const response = await send(`../${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers() },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await broken(reader.read());
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line);
    if (done) return;
  }
}

/**
 * @template T
 * @param {Promise<T>} reading
 * @returns {Promise<T>}
 */
async function broken(reading) {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Failure("The connection to the service broke.", 0);
  }
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
  if (!response.ok) throw new Failure(await failureText(response), response.status);
  return response;
}

/** @param {Response} response */
async function failureText(response) {
  const text = await response.text();
  let message = "";
  try {
    message = JSON.parse(text).error?.message ?? "";
  } catch {
    message = text.slice(0, 200); // the body of a proxy, shown unchanged
  }
  const seconds = response.headers.get("retry-after");
  const later = seconds ? ` Try again in ${seconds} s.` : "";
  switch (response.status) {
    case 401:
      return "The service requires a valid key.";
    case 413:
      return `The request is too large for this service. ${message}`;
    case 429:
      return `The service is busy: ${message || "its queue is full"}.${later}`;
    case 503:
      return `The service is not available: ${message || "it is still starting"}.${later}`;
    default:
      return message ? `The service refused the request: ${message}` : `The service answered with status ${response.status}.`;
  }
}
