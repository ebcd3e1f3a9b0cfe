/** Breaks text into lines for SVG, which does not wrap text. Pure except for measuring the text. */

const context = document.createElement("canvas").getContext("2d");
const family = getComputedStyle(document.body).fontFamily;

/**
 * @param {string} text
 * @param {string} font Weight and size; the family is that of the page.
 */
export function widthOf(text, font) {
  if (!context) return text.length * 7;
  context.font = `${font} ${family}`;
  return context.measureText(text).width;
}

/**
 * @param {string} text
 * @param {number} width
 * @param {number} most Maximum number of lines; the last one ends in an ellipsis if there is more text.
 * @param {string} font
 * @returns {string[]}
 */
export function wrap(text, width, most, font) {
  const words = text.split(/\s+/).filter(Boolean).flatMap((word) => pieces(word, width, font));
  /** @type {string[]} */
  const lines = [];
  while (words.length > 0 && lines.length < most) {
    let line = /** @type {string} */ (words.shift());
    while (words.length > 0 && widthOf(`${line} ${words[0]}`, font) <= width) line += ` ${words.shift()}`;
    lines.push(line);
  }
  if (words.length > 0) {
    let last = lines[lines.length - 1];
    while (last && widthOf(`${last}…`, font) > width) last = last.slice(0, -1);
    lines[lines.length - 1] = `${last.trimEnd()}…`;
  }
  return lines;
}

/**
 * Splits a word into parts that fit on a line.
 * @param {string} word
 * @param {number} width
 * @param {string} font
 */
function pieces(word, width, font) {
  const found = [];
  let rest = word;
  while (widthOf(rest, font) > width) {
    let length = Math.max(1, Math.floor((rest.length * width) / widthOf(rest, font)));
    while (length > 1 && widthOf(rest.slice(0, length), font) > width) length -= 1;
    found.push(rest.slice(0, length));
    rest = rest.slice(length);
  }
  return [...found, rest];
}
