/** Repeats a request of the page on the command line. */

import { hasKey } from "../api.js";
import { el } from "../dom.js";
import { download } from "./download.js";

const LONGEST_INLINE = 20_000;
const REQUEST_FILE = "request.json";

/**
 * The command that sends a body, which is in a file if it is long.
 * @param {string} path Such as "v1/rerank".
 * @param {string} body JSON.
 */
export function curlOf(path, body) {
  const url = new URL(`../${path}`, document.baseURI).href;
  const key = hasKey() ? ' -H "authorization: Bearer $TRIVET_API_KEY"' : "";
  const data = body.length > LONGEST_INLINE ? `@${REQUEST_FILE}` : quoted(body);
  return `curl -sN ${quoted(url)} -H 'content-type: application/json'${key} --data-binary ${data}`;
}

/** A word of a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * A button that copies the request as a command. A long body is downloaded beside it.
 * @param {string} path
 * @param {unknown} body
 */
export function copyAsCurl(path, body) {
  const button = el("button", { type: "button" }, "Copy as curl");
  const note = el("span", { class: "copied", role: "status" });
  const place = el("div", { class: "actions" }, button, note);
  button.addEventListener("click", async () => {
    const json = JSON.stringify(body);
    const command = curlOf(path, json);
    const isLong = json.length > LONGEST_INLINE;
    if (isLong) download(REQUEST_FILE, "application/json", json);
    try {
      await navigator.clipboard.writeText(command);
      note.textContent = isLong ? `Copied. The command reads ${REQUEST_FILE}, which was downloaded.` : "Copied.";
    } catch {
      // The browser allows no access to the clipboard, as on a page that came over plain HTTP from another machine.
      const field = el("textarea", { class: "curl", rows: 4, readonly: true, "aria-label": "Command" }, command);
      place.replaceChildren(button, field);
      field.focus();
    }
  });
  return place;
}
