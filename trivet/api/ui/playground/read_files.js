/** Reads dropped or chosen files as texts, and reports which files are skipped and why. */

const PICTURE = /\.(png|jpe?g|gif|webp|avif|bmp|tiff?|ico|svgz?|drawio|eps|psd)$/i;
const DATA = /\.(csv|tsv|json|jsonl|ndjson|geojson|ipynb|lock|map|sum)$/i;
const BINARY = /\.(pdf|zip|gz|tar|whl|so|bin|woff2?|mp[34]|mov|pyc|class|jar|exe)$/i;
const HIDDEN = /(^|\/)(\.[^/]+|node_modules|__pycache__)(\/|$)/;

/**
 * @typedef {{name: string, text: string}} TextFile
 * @typedef {{name: string, file: File}} NamedFile
 */

/** @param {FileList} list */
export const chosen = (list) => [...list].map((file) => ({ name: file.webkitRelativePath || file.name, file }));

/**
 * Returns the files of a drop, including those in folders.
 * @param {DataTransfer} transfer
 * @returns {Promise<NamedFile[]>}
 */
export async function dropped(transfer) {
  // The items are valid only until the event handler first awaits, so all are read before. An item that is not a file
  // system entry may still be a file, such as a picture dragged from another page.
  const roots = [...transfer.items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const found = roots.map(({ entry, file }) => (entry ? walk(entry) : file ? [{ name: file.name, file }] : []));
  return (await Promise.all(found)).flat();
}

/**
 * @param {any} entry
 * @returns {Promise<NamedFile[]>}
 */
async function walk(entry) {
  const name = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ name, file }];
  }
  if (HIDDEN.test(name)) return [];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(walk))).flat();
}

/**
 * @param {NamedFile[]} files
 * @param {number} most Maximum number of files.
 * @param {number} largestBytes
 * @returns {Promise<{taken: TextFile[], skipped: string[]}>} `skipped` has a phrase for each reason.
 */
export async function readTexts(files, most, largestBytes) {
  const counts = { hidden: 0, pictures: 0, data: 0, "not text": 0, empty: 0, "too large": 0, "beyond the limit": 0 };
  const taken = [];
  for (const { name, file } of [...files].sort((one, other) => one.name.localeCompare(other.name))) {
    if (HIDDEN.test(name)) counts.hidden += 1;
    else if (PICTURE.test(name)) counts.pictures += 1;
    else if (DATA.test(name)) counts.data += 1;
    else if (BINARY.test(name)) counts["not text"] += 1;
    else if (file.size > largestBytes) counts["too large"] += 1;
    else if (taken.length >= most) counts["beyond the limit"] += 1;
    else {
      const text = decoded(await file.arrayBuffer());
      if (text === null) counts["not text"] += 1;
      else if (text.trim() === "") counts.empty += 1;
      else taken.push({ name, text });
    }
  }
  const skipped = Object.entries(counts).filter(([, number]) => number > 0).map(([reason, number]) => `${number} ${reason}`);
  return { taken: withoutSharedFolder(taken), skipped };
}

/**
 * Reads UTF-8, or UTF-16 with a byte order mark, as `trivet index` does; anything else is null.
 * @param {ArrayBuffer} content
 */
function decoded(content) {
  try {
    const text = new TextDecoder(encodingOf(new Uint8Array(content, 0, Math.min(2, content.byteLength))), { fatal: true }).decode(content);
    return text.includes("\0") ? null : text;
  } catch {
    return null; // in another encoding, which counts as "not text"
  }
}

/** @param {Uint8Array} start The first two bytes. */
function encodingOf([first, second]) {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

/**
 * Removes the folder that all names share.
 * @param {TextFile[]} files
 */
function withoutSharedFolder(files) {
  const folder = files[0]?.name.slice(0, files[0].name.lastIndexOf("/") + 1) ?? "";
  let shared = folder;
  while (shared && !files.every((file) => file.name.startsWith(shared))) {
    shared = shared.slice(0, shared.slice(0, -1).lastIndexOf("/") + 1);
  }
  return files.map((file) => ({ ...file, name: file.name.slice(shared.length) }));
}
