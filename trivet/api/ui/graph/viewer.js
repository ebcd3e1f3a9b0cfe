/**
 * Shows the relations of many documents: a drawing with zoom, filters, the passages that speak for an edge, and a table.
 *
 * Imports nothing: the page loads this file as a module, and an exported graph contains it.
 */

const SVG = "http://www.w3.org/2000/svg";
const STROKES = [null, "9 5", "2 6", "12 4 2 4", "5 3", "1 4"];
const COLOURS = 6;
const WIDTH = 1000;
const HEIGHT = 640;
const RADIUS = 5;
const LABELS = 24;
const ROWS = 200;
const ROUNDS = 160;
const MOST_ZOOM = 12;

/**
 * @typedef {{start_line: number, end_line: number, text?: string}} Span
 * @typedef {{source: Span, target: Span, relation: string, confidence: number}} Evidence
 * @typedef {{source: string, target: string, relation: string, directed: boolean, confidence: number, evidence?: Evidence[]}} Edge
 * @typedef {{documents: string[], edges: Edge[], relations?: string[], no_relation?: string | null}} Graph
 * @typedef {{name: string, x: number, y: number, degree: number, shape: SVGElement, label: SVGElement}} Place
 * @typedef {{edge: Edge, from: Place, to: Place, shape: SVGElement}} Line
 */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] Absent where null, undefined or false.
 * @param {...(Node | string | null | false)} children
 * @returns {any}
 */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | null | false)} children
 * @returns {any}
 */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @param {Element} element
 * @param {Record<string, unknown>} attributes
 * @param {(Node | string | null | false)[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/** @param {number} confidence */
const percent = (confidence) => `${Math.round(100 * confidence)} %`;

/** @param {string} path */
const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);

/** File names may hold any character: those that are not visible, or change the direction of writing, are escaped. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** @param {string} text */
const shown = (text) => text.replace(HIDDEN, (one) => `\\u${(one.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);

/**
 * Shows a graph in an element, whose content it replaces.
 * @param {HTMLElement} place
 * @param {Graph} graph
 */
export function showGraph(place, graph) {
  const edges = [...graph.edges].sort((one, other) => other.confidence - one.confidence);
  const looks = looksOf(graph, edges);
  const evidence = el("section", { class: "evidence", "aria-label": "Evidence" });
  const table = el("div", { class: "edge-table" });
  const count = el("p", { class: "edge-count", role: "status" });
  const drawing = draw(graph.documents, edges, looks, (edge) => showEvidence(evidence, edge, looks));
  const filters = filtersOf(edges, looks, apply);

  /** Shows the edges that pass the filters, in the drawing and in the table. */
  function apply() {
    const visible = edges.filter((edge) => filters.passes(edge));
    drawing.show(new Set(visible));
    const rest = visible.length > ROWS ? ` The table has the ${ROWS} most confident ones.` : "";
    const isolated = graph.documents.length - drawing.places;
    const alone = isolated > 0 ? ` ${isolated} without a relation are not drawn.` : "";
    count.textContent = `${visible.length} of ${edges.length} relations between ${graph.documents.length} files.${alone}${rest}`;
    table.replaceChildren(tableOf(visible.slice(0, ROWS), looks, (edge) => {
      drawing.mark(edge);
      showEvidence(evidence, edge, looks);
      evidence.scrollIntoView({ block: "nearest" });
    }));
  }

  place.replaceChildren(filters.element, count, drawing.element, evidence, table);
  showHint(evidence, edges.length > 0);
  apply();
}

/**
 * A relation's look; relations differ in stroke as well as in colour.
 * @param {Graph} graph
 * @param {Edge[]} edges
 */
function looksOf(graph, edges) {
  const names = [...new Set([...(graph.relations ?? []), ...edges.map((edge) => edge.relation)])];
  const found = new Map();
  let next = 0;
  for (const name of names) {
    const absent = name === graph.no_relation;
    const at = absent ? 0 : next++;
    const [colour, dashes] = absent ? ["absent", "1 5"] : [String(at % COLOURS), STROKES[at % STROKES.length]];
    found.set(name, { name, colour, dashes });
  }
  return found;
}

/**
 * @param {Edge[]} edges
 * @param {Map<string, any>} looks
 * @param {() => void} changed
 */
function filtersOf(edges, looks, changed) {
  const boxes = new Map();
  const group = el("fieldset", { class: "relation-filter" }, el("legend", {}, "Relations"));
  for (const look of looks.values()) {
    const number = edges.filter((edge) => edge.relation === look.name).length;
    if (number === 0) continue;
    const box = el("input", { type: "checkbox", checked: true });
    box.addEventListener("change", changed);
    boxes.set(look.name, box);
    const key = svg("svg", { class: "stroke-key", viewBox: "0 0 34 10", "aria-hidden": "true" }, svg("path", { d: "M2 5H32", "stroke-dasharray": look.dashes }));
    group.append(el("label", { "data-relation": look.colour }, box, key, `${shown(look.name)} (${number})`));
  }
  const lowest = Math.floor(100 * Math.min(1, ...edges.map((edge) => edge.confidence)));
  const slider = el("input", { type: "range", min: lowest, max: 100, value: lowest, step: 1 });
  const output = el("output", {}, percent(lowest / 100));
  slider.addEventListener("input", () => {
    output.textContent = percent(slider.value / 100);
    changed();
  });
  const name = el("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  name.addEventListener("input", changed);
  const element = el(
    "div",
    { class: "graph-filters" },
    group,
    el("label", { class: "confidence-filter" }, "Confidence at least ", slider, output),
    el("label", { class: "name-filter" }, "File name contains ", name),
  );
  return {
    element,
    /** @param {Edge} edge */
    passes: (edge) =>
      boxes.get(edge.relation)?.checked &&
      Math.round(100 * edge.confidence) >= slider.value && // as it is shown
      `${edge.source}\n${edge.target}`.toLowerCase().includes(name.value.trim().toLowerCase()),
  };
}

/**
 * @param {string[]} documents
 * @param {Edge[]} edges
 * @param {Map<string, any>} looks
 * @param {(edge: Edge) => void} choose
 */
function draw(documents, edges, looks, choose) {
  const { places, lines } = layout(documents, edges);
  const scene = svg("g");
  const marker = svg("defs");
  const drawing = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${places.length} files, joined by ${edges.length} relations. The table below shows the same.`,
    },
    marker,
    scene,
  );
  /** @type {Line | null} */
  let marked = null;
  for (const line of lines) {
    const look = looks.get(line.edge.relation);
    const d = pathOf(line);
    const title = svg("title", {}, `${shown(line.edge.source)} ${line.edge.directed ? "→" : "–"} ${shown(line.edge.target)}: ${shown(line.edge.relation)}, ${percent(line.edge.confidence)}`);
    line.shape = svg(
      "g",
      { class: "edge-group", "data-relation": look.colour },
      title,
      svg("path", { class: "edge-hit", d }),
      svg("path", { class: "edge", d, "stroke-width": (0.8 + 1.8 * line.edge.confidence).toFixed(2), "stroke-dasharray": look.dashes }),
      line.edge.directed ? arrowOf(line) : null,
    );
    // Pointing at an edge shows its evidence, unless another one has been chosen; clicking chooses it.
    line.shape.addEventListener("pointerenter", () => {
      if (!marked) choose(line.edge);
    });
    line.shape.addEventListener("click", () => {
      mark(marked === line ? null : line);
      choose(line.edge);
    });
    scene.append(line.shape);
  }
  for (const place of places) {
    place.label = svg("text", {}, shown(baseName(place.name)));
    place.shape = svg("g", { class: "node" }, svg("title", {}, shown(place.name)), svg("circle", { r: RADIUS }), place.label);
    place.shape.addEventListener("pointerenter", () => dim(place));
    place.shape.addEventListener("pointerleave", () => dim(null));
    scene.append(place.shape);
  }

  /** @param {Line | null} line */
  function mark(line) {
    marked?.shape.removeAttribute("data-marked");
    marked = line;
    marked?.shape.setAttribute("data-marked", "");
  }

  /** @param {Place | null} place */
  function dim(place) {
    for (const line of lines) line.shape.toggleAttribute("data-dim", place !== null && line.from !== place && line.to !== place);
  }

  const byDegree = [...places].sort((one, other) => other.degree - one.degree);
  const view = zoomable(drawing, scene, (scale) => {
    // Sizes stay readable at every zoom; the closer, the more names have room.
    const named = new Set(byDegree.slice(0, Math.round(LABELS * scale * scale)));
    for (const place of places) {
      place.shape.setAttribute("transform", `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)}) scale(${(1 / scale).toFixed(4)})`);
      place.label.toggleAttribute("data-hidden", !named.has(place));
      place.label.setAttribute("x", String(RADIUS + 4));
      place.label.setAttribute("y", "4");
    }
  });
  return {
    places: places.length,
    element: el("div", { class: "graph-drawing" }, drawing, view.buttons),
    /** @param {Set<Edge>} visible */
    show(visible) {
      const joined = new Set();
      for (const line of lines) {
        const on = visible.has(line.edge);
        line.shape.toggleAttribute("hidden", !on);
        if (on) joined.add(line.from).add(line.to);
      }
      for (const place of places) place.shape.toggleAttribute("data-dim", !joined.has(place));
    },
    /** @param {Edge} edge */
    mark(edge) {
      mark(lines.find((line) => line.edge === edge) ?? null);
    },
  };
}

/**
 * Places the documents that have a relation: related ones near each other, all apart. The same graph always looks the
 * same.
 * @param {string[]} documents
 * @param {Edge[]} edges
 */
function layout(documents, edges) {
  const known = new Set(documents);
  const drawn = edges.filter((edge) => known.has(edge.source) && known.has(edge.target));
  const names = [...new Set(drawn.flatMap((edge) => [edge.source, edge.target]))];
  const places = names.map((name, at) => {
    const angle = at * 2.399963; // the golden angle: an even start without chance
    const distance = Math.sqrt((at + 0.5) / names.length);
    return /** @type {Place} */ ({ name, x: distance * Math.cos(angle), y: distance * Math.sin(angle), degree: 0 });
  });
  const byName = new Map(places.map((place) => [place.name, place]));
  const lines = drawn.map((edge) => {
    const [from, to] = [/** @type {Place} */ (byName.get(edge.source)), /** @type {Place} */ (byName.get(edge.target))];
    from.degree += 1;
    to.degree += 1;
    return /** @type {Line} */ ({ edge, from, to });
  });
  relax(places, lines);
  stretch(places);
  return { places, lines };
}

/**
 * Fruchterman and Reingold's forces: every two places repel each other, and related ones attract each other.
 * @param {Place[]} places
 * @param {Line[]} lines
 */
function relax(places, lines) {
  const ideal = 1.4 / Math.sqrt(places.length || 1);
  const rounds = Math.min(ROUNDS, Math.ceil(4e7 / (places.length * places.length + 1)));
  for (let round = 0; round < rounds; round += 1) {
    const most = 0.12 * (1 - round / rounds) + 0.002;
    const moves = places.map(() => ({ x: 0, y: 0 }));
    for (let one = 0; one < places.length; one += 1) {
      for (let other = one + 1; other < places.length; other += 1) {
        const x = places[one].x - places[other].x;
        const y = places[one].y - places[other].y;
        const force = (ideal * ideal) / Math.max(1e-6, x * x + y * y);
        moves[one].x += x * force;
        moves[one].y += y * force;
        moves[other].x -= x * force;
        moves[other].y -= y * force;
      }
      moves[one].x -= 0.35 * places[one].x * ideal; // keeps what is not joined from drifting away
      moves[one].y -= 0.35 * places[one].y * ideal;
    }
    const index = new Map(places.map((place, at) => [place, at]));
    for (const { from, to } of lines) {
      const x = from.x - to.x;
      const y = from.y - to.y;
      const force = Math.hypot(x, y) / ideal / Math.sqrt(Math.max(1, Math.min(from.degree, to.degree)));
      const [a, b] = [moves[/** @type {number} */ (index.get(from))], moves[/** @type {number} */ (index.get(to))]];
      a.x -= x * force;
      a.y -= y * force;
      b.x += x * force;
      b.y += y * force;
    }
    places.forEach((place, at) => {
      const length = Math.hypot(moves[at].x, moves[at].y) || 1;
      place.x += (moves[at].x / length) * Math.min(length, most);
      place.y += (moves[at].y / length) * Math.min(length, most);
    });
  }
}

/**
 * Fits the places into the drawing. Half of a position is its rank, which gives dense parts more room and keeps a few
 * distant places from pressing the others together.
 * @param {Place[]} places
 */
function stretch(places) {
  const fit = (/** @type {"x" | "y"} */ axis, /** @type {number} */ size, /** @type {number} */ before, /** @type {number} */ after) => {
    const ordered = [...places].sort((one, other) => one[axis] - other[axis]);
    const last = ordered.length - 1;
    const [least, most] = last >= 0 ? [ordered[0][axis], ordered[last][axis]] : [0, 0];
    ordered.forEach((place, rank) => {
      const share = most > least ? (place[axis] - least) / (most - least) : 0.5;
      const among = last > 0 ? rank / last : 0.5;
      place[axis] = before + ((share + among) / 2) * (size - before - after);
    });
  };
  fit("x", WIDTH, 30, 150); // names stand to the right of their places
  fit("y", HEIGHT, 24, 24);
}

/** A slight curve, so that the two directions between two files are separate lines. @param {Line} line */
function pathOf({ from, to }) {
  const { x, y } = middleOf(from, to);
  return `M${from.x.toFixed(1)} ${from.y.toFixed(1)}Q${x.toFixed(1)} ${y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}`;
}

/**
 * @param {Place} from
 * @param {Place} to
 */
const middleOf = (from, to) => ({ x: (from.x + to.x) / 2 + (to.y - from.y) * 0.12, y: (from.y + to.y) / 2 + (from.x - to.x) * 0.12 });

/** @param {Line} line */
function arrowOf({ from, to }) {
  const middle = middleOf(from, to);
  const angle = Math.atan2(to.y - middle.y, to.x - middle.x);
  const at = (/** @type {number} */ back, /** @type {number} */ turn) =>
    `${(to.x - back * Math.cos(angle + turn)).toFixed(1)} ${(to.y - back * Math.sin(angle + turn)).toFixed(1)}`;
  return svg("path", { class: "arrow", d: `M${at(RADIUS, 0)}L${at(RADIUS + 8, 0.3)}L${at(RADIUS + 8, -0.3)}Z` });
}

/**
 * Zoom by wheel, drag and buttons.
 * @param {any} drawing
 * @param {any} scene
 * @param {(scale: number) => void} scaled
 */
function zoomable(drawing, scene, scaled) {
  let [scale, x, y] = [1, 0, 0];
  const update = () => {
    scene.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${scale.toFixed(4)})`);
    scaled(scale);
  };
  /** @param {number} factor @param {number} atX @param {number} atY */
  const zoom = (factor, atX = WIDTH / 2, atY = HEIGHT / 2) => {
    const next = Math.min(MOST_ZOOM, Math.max(1, scale * factor));
    [x, y] = [atX - ((atX - x) * next) / scale, atY - ((atY - y) * next) / scale];
    scale = next;
    if (scale === 1) [x, y] = [0, 0];
    update();
  };
  /** @param {MouseEvent} event */
  const within = (event) => {
    const box = drawing.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
  };
  drawing.addEventListener(
    "wheel",
    (/** @type {WheelEvent} */ event) => {
      event.preventDefault();
      const [atX, atY] = within(event);
      zoom(Math.exp(-event.deltaY / 400), atX, atY);
    },
    { passive: false },
  );
  /** @type {number[] | null} */
  let held = null;
  drawing.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => (held = within(event)));
  drawing.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (!held || event.buttons === 0) return;
    const now = within(event);
    [x, y, held] = [x + now[0] - held[0], y + now[1] - held[1], now];
    update();
  });
  for (const end of ["pointerup", "pointerleave"]) drawing.addEventListener(end, () => (held = null));
  const button = (/** @type {string} */ text, /** @type {string} */ name, /** @type {() => void} */ act) => {
    const made = el("button", { type: "button", "aria-label": name, title: name }, text);
    made.addEventListener("click", act);
    return made;
  };
  update();
  return {
    buttons: el(
      "div",
      { class: "zoom" },
      button("+", "Zoom in", () => zoom(1.5)),
      button("−", "Zoom out", () => zoom(1 / 1.5)),
      button("⤢", "Show all", () => zoom(0)),
    ),
  };
}

/**
 * @param {HTMLElement} place
 * @param {boolean} some
 */
function showHint(place, some) {
  const text = some ? "Point at a line, or choose a row of the table, to see the two passages." : "No two files are related.";
  place.replaceChildren(el("p", { class: "evidence-hint" }, text));
}

/**
 * @param {HTMLElement} place
 * @param {Edge} edge
 * @param {Map<string, any>} looks
 */
function showEvidence(place, edge, looks) {
  const parts = (edge.evidence ?? []).map((one) =>
    el("div", { class: "passages" }, passage(edge.source, one.source), passage(edge.target, one.target)),
  );
  place.replaceChildren(
    el(
      "p",
      { class: "evidence-title" },
      el("span", {}, shown(edge.source)),
      el("strong", { "data-relation": looks.get(edge.relation)?.colour }, ` ${edge.directed ? "→" : "–"} ${shown(edge.relation)}, ${percent(edge.confidence)} `),
      el("span", {}, shown(edge.target)),
    ),
    ...parts,
  );
}

/**
 * @param {string} path
 * @param {Span} span
 */
function passage(path, span) {
  return el(
    "figure",
    {},
    el("figcaption", {}, `${shown(path)}:${span.start_line}-${span.end_line}`),
    el("pre", { tabindex: "0" }, span.text ?? ""),
  );
}

/**
 * @param {Edge[]} edges
 * @param {Map<string, any>} looks
 * @param {(edge: Edge) => void} choose
 */
function tableOf(edges, looks, choose) {
  if (edges.length === 0) return el("p", { class: "evidence-hint" }, "No relation passes the filters.");
  const head = ["From", "Relation", "To", "Confidence"].map((name) => el("th", { scope: "col", class: name === "Confidence" && "number" }, name));
  const rows = edges.map((edge) => {
    const button = el("button", { type: "button", class: "edge-choice", "data-relation": looks.get(edge.relation)?.colour }, shown(edge.relation));
    button.addEventListener("click", () => choose(edge));
    return el(
      "tr",
      {},
      el("td", {}, shown(edge.source)),
      el("td", {}, button),
      el("td", {}, shown(edge.target)),
      el("td", { class: "number" }, percent(edge.confidence)),
    );
  });
  return el("table", { class: "edges" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}
