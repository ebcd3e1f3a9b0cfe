/** Sets up the forms of the playground. */

import { wireClassify } from "./classify.js";
import { wireEmbed } from "./embed.js";
import { wireFiles } from "./files.js";
import { wireRelate } from "./relate.js";
import { wireRerank } from "./rerank.js";

/** @param {() => any} status The last status, or null. */
export function wirePlayground(status) {
  wireRerank(status);
  wireRelate(status);
  wireFiles(status);
  wireClassify(status);
  wireEmbed(status);
}
