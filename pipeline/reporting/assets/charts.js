// Draws each <figure data-chart="…"> from the JSON within it, with Observable Plot. Colours are CSS variables, so a
// change of theme draws nothing anew.
"use strict";

const COLOURS = 8;
const BANDS = 6;  // at first, if there are so many rows at most: more hide each other
const colour = (place) => `var(--series-${place % COLOURS})`;
const DASHES = [null, "2 3", "7 3"];  // of the kinds of lines
const RULE = {stroke: "var(--rule)"};
const TIP = {fill: "var(--surface)", stroke: "var(--quiet)", maxRadius: 30, textPadding: 7};
const precise = new Intl.NumberFormat("en", {maximumSignificantDigits: 4});
const shown = (value) => (value === null || value === undefined ? "–" : precise.format(value).replace("-", "−"));
const between = ({low, high}) => (low === null || low === undefined ? "" : ` (${shown(low)} to ${shown(high)})`);

// Makes an element; `on…` in its properties are listeners.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const check = (label, checked, onchange) => {
  const box = make("input", {type: "checkbox", checked, onchange: () => onchange(box.checked)});
  return make("label", {}, box, label);
};

const select = (label, names, onchange) => {
  const list = make("select", {onchange: () => onchange(list.selectedIndex)}, ...names.map((name) => make("option", {}, name)));
  return make("label", {}, label, list);
};

// Rows as lines one below the other: runs as dots, mean, interval, published value.
const dots = {
  draw({label, each, zero, lines}, _, width) {
    const points = lines.flatMap(({name, values = []}, place) => values.map(([seed, value], i) => (
      {x: value, y: place + (values.length > 1 ? 0.3 * (i / (values.length - 1)) - 0.05 : 0.1), name, seed}
    )));
    const known = lines.map((line, place) => ({...line, y: place + 0.1})).filter(({mean}) => mean !== null);
    const tone = (line) => (line.marked ? "var(--marked)" : "var(--series-0)");
    const all = [...points.map(({x}) => x), ...known.map(({mean}) => mean), ...lines.map(({published}) => published)];
    const values = all.filter((value) => value !== null && value !== undefined).concat(zero ? [0] : []);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const room = 0.15 * (most - least || 1);
    return {
      width, height: 38 * lines.length + 40, marginLeft: 4, marginRight: 12, marginTop: 4, marginBottom: 36,
      x: {label, domain: [least - room, most + room], clamp: true, grid: true, ticks: Math.max(3, width / 100)},
      y: {axis: null, domain: [lines.length - 0.5, -0.6]},
      marks: [
        zero ? Plot.ruleX([0], {stroke: "var(--ink)"}) : null,
        Plot.ruleY(lines.slice(1), {y: (_, place) => place + 0.45, ...RULE}),
        Plot.ruleY(known.filter(({low}) => low !== null), {x1: "low", x2: "high", y: "y", stroke: tone, strokeWidth: 12, strokeOpacity: 0.25}),
        Plot.dot(points, {x: "x", y: "y", r: 2.5, fill: (point) => tone(lines.find(({name}) => name === point.name))}),
        Plot.ruleX(known, {x: "mean", y1: ({y}) => y - 0.22, y2: ({y}) => y + 0.22, stroke: tone, strokeWidth: 3}),
        Plot.dot(lines.map((line, place) => ({...line, y: place + 0.1})), {x: "published", y: "y", symbol: "diamond", r: 5, fill: "var(--surface)", stroke: "var(--ink)", strokeWidth: 1.5}),
        Plot.text(lines, {y: (_, place) => place - 0.32, text: "name", frameAnchor: "left", textAnchor: "start", fontWeight: 600}),
        Plot.text(lines, {y: (_, place) => place - 0.32, text: "note", frameAnchor: "right", textAnchor: "end"}),
        Plot.tip(points, Plot.pointer({x: "x", y: "y", title: ({name, seed, x}) => `${name}\n${each} ${seed}: ${shown(x)}`, ...TIP})),
      ],
    };
  },
  table: ({label, lines}) => [
    ["row", label, "interval", "published", "runs"],
    ...lines.map(({name, mean, low, high, published, values = []}) => [
      name, shown(mean), between({low, high}).trim(), shown(published), values.map(([, value]) => shown(value)).join("  "),
    ]),
  ],
};

// Lines by x with bands, one colour per row; each row's line can be switched.
const curves = {
  state: ({rows, shown: most, measures}) => ({
    measure: 0,
    lines: rows.map((_, place) => place < (most ?? COLOURS)),
    bands: rows.length <= BANDS,
    kinds: new Set([measures[0].series[0].kind]),
  }),
  controls({rows, measures}, state, redraw) {
    const parts = [];
    if (measures.length > 1) parts.push(select("Measure ", measures.map(({label}) => label), (place) => { state.measure = place; redraw(); }));
    const kinds = [...new Set(measures[0].series.map(({kind}) => kind))];
    if (kinds.length > 1) {
      parts.push(...kinds.map((kind) => check(kind, state.kinds.has(kind), (on) => { state.kinds[on ? "add" : "delete"](kind); redraw(); })));
    }
    if (measures.some(({series}) => series.some(({low}) => low))) {
      parts.push(check("bands", state.bands, (on) => { state.bands = on; redraw(); }));
    }
    if (rows.length === 1) return parts;
    const entries = rows.map((row, place) => {
      const swatch = make("span", {className: "swatch"});
      swatch.style.setProperty("--colour", colour(place));
      const line = check(row, state.lines[place], (on) => { state.lines[place] = on; redraw(); });
      line.prepend(swatch);
      return make("li", {}, line);
    });
    const all = (on) => make("button", {type: "button", onclick: () => {
      state.lines.fill(on);
      for (const entry of entries) entry.querySelector("input").checked = on;
      redraw();
    }}, on ? "All rows" : "No rows");
    return [...parts, all(true), all(false), make("fieldset", {}, make("legend", {}, "Rows"), make("ul", {}, ...entries))];
  },
  visible({rows, measures}, state) {
    const {series} = measures[state.measure];
    const several = series.some(({kind}) => state.kinds.has(kind));
    return series.filter(({row, kind}) => state.lines[row] && (state.kinds.has(kind) || !several)).flatMap(
      ({row, kind, x, mean, low, high, share}) => mean.map((y, i) => (
        {row, kind, z: `${row} ${kind}`, name: rows[row], x: x[i], y, low: low?.[i], high: high?.[i], share: share?.[i]}
      )),
    );
  },
  draw(data, state, width) {
    const {label, scale} = data.measures[state.measure];
    const points = curves.visible(data, state);
    const values = points.flatMap(({y, low, high}) => [y, low, high]).filter((value) => typeof value === "number");
    const stroke = ({row}) => colour(row);
    const place = {x: "x", y: "y", z: "z"};
    const last = Math.max(1, ...points.map(({x}) => x));
    const square = data.diagonal ? {domain: [0, 100]} : {};
    const kinds = [...new Set(data.measures[state.measure].series.map(({kind}) => kind))];
    return {
      ...(data.diagonal ? {width: Math.min(width, 520), height: Math.min(width, 520)}
        : {width, height: Math.max(260, Math.min(420, width / 2))}),
      marginLeft: 48, marginTop: 24, marginBottom: 36, inset: data.diagonal ? 8 : 0,
      x: {label: data.x, ...(data.diagonal ? {} : {tickFormat: "d"}), ticks: last > 10 ? Math.max(3, width / 100) : [...Array(last + 1).keys()].slice(1), ...square},
      y: {label, grid: true, ...(data.diagonal ? square : limits(scale, values, points))},
      marks: [
        data.diagonal ? Plot.line([[0, 0], [100, 100]], {stroke: "var(--quiet)", strokeDasharray: "4 4"}) : null,
        scale === "ratio" ? Plot.ruleY([1], {stroke: "var(--quiet)"}) : null,
        Plot.areaY(points.filter(({low}) => state.bands && typeof low === "number"),
          {x: "x", y1: "low", y2: "high", z: "z", fill: stroke, fillOpacity: 0.09, clip: true}),
        ...kinds.map((kind, dashes) => Plot.lineY(points.filter((point) => point.kind === kind),
          {...place, stroke, strokeWidth: 1.8, strokeDasharray: DASHES[dashes], clip: true})),
        data.diagonal || data.points ? Plot.dot(points, {...place, fill: stroke, r: ({share}) => 2 + Math.sqrt(share ?? 1)}) : null,
        Plot.tip(points, Plot.pointer({...place, title: (point) => `${point.name} (${point.kind})\n${data.x} ${shown(point.x)}: ${shown(point.y)}${between(point)}`, ...TIP})),
      ],
      r: {type: "identity"},
    };
  },
  table(data, state) {
    const {label} = data.measures[state.measure];
    const lines = curves.visible(data, state);
    return [["row", "images", data.x, label, "range"], ...lines.map((point) => [point.name, point.kind, shown(point.x), shown(point.y), between(point).trim()])];
  },
};

// Rising measures leave out their first, lowest values; falling ones are logarithmic over a factor of ten or more.
function limits(scale, values, points) {
  if (!values.length) return {};
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (scale === "rising") {
    const means = points.map(({y}) => y).filter((y) => typeof y === "number").sort((a, b) => a - b);
    const floor = means[Math.floor(0.1 * means.length)];
    return {domain: [floor - 0.05 * (most - floor || 1), most]};
  }
  const logarithmic = scale === "ratio" || (least > 0 && most / least >= 10);
  return logarithmic ? {type: "log", tickFormat: "~g"} : {domain: [Math.min(0, least), most], nice: true};
}

// Coloured cells: probabilities around `middle`, or counts as shares of their line.
const matrix = {
  state: () => ({table: 0}),
  controls: ({tables}, state, redraw) => (Object.keys(tables).length > 1
    ? [select("Row ", Object.keys(tables), (place) => { state.table = place; redraw(); })] : []),
  cells({rows, columns, tables, middle}, state) {
    return Object.values(tables)[state.table].flatMap((line, i) => {
      const total = line.reduce((sum, value) => sum + value, 0) || 1;
      return line.map((value, j) => {
        const depth = middle === undefined ? value / total : 2 * Math.abs((value ?? middle) - middle);
        return {row: rows[i], column: columns[j], i, j, value, depth, low: middle !== undefined && value < middle};
      });
    });
  },
  draw(data, state, width) {
    const {rows, columns, down, across} = data;
    const letters = Math.max(...rows.map((name) => name.length));
    const left = Math.min(7 * letters + 14, Math.max(90, 0.4 * width));
    const cut = Math.round((left - 14) / 7);
    const top = Math.min(6.8 * Math.max(...columns.map((name) => name.length)), 90) + 30;
    const side = Math.max(18, Math.min(44, (width - left) / columns.length));
    const cells = matrix.cells(data, state);
    const text = (value) => (value === null ? "" : data.middle === undefined ? String(value) : value.toFixed(2).replace(/^0/, ""));
    const narrow = cells.every(({value}) => 7.5 * text(value).length < side);
    const short = (name) => (name.length > cut ? `${name.slice(0, cut - 1)}…` : name);
    const turned = columns.some((name) => 7 * name.length > side);
    const spot = {x: "j", y: "i"};
    return {
      width: left + side * columns.length + 4, height: top + side * rows.length + 4,
      marginLeft: left, marginTop: top, marginRight: 4, marginBottom: 4,
      x: {axis: "top", domain: columns.map((_, j) => j), tickFormat: (j) => columns[j], tickRotate: turned ? -90 : 0, tickSize: 0, label: across, labelArrow: "none", padding: 0.04},
      y: {domain: rows.map((_, i) => i), tickFormat: (i) => short(rows[i]), tickSize: 0, label: null, padding: 0.04},
      marks: [
        Plot.cell(cells, {...spot, rx: 2, fill: ({low, depth}) => `color-mix(in srgb, var(${low ? "--low" : "--high"}) ${Math.round(100 * depth)}%, var(--raised))`}),
        narrow ? Plot.text(cells, {...spot, text: ({value}) => text(value), fill: "var(--ink)"}) : null,
        Plot.tip(cells, Plot.pointer({...spot, title: ({row, column, value}) => `${down} ${row}\n${across} ${column}\n${shown(value)}`, ...TIP})),
      ],
    };
  },
  table: ({rows, columns, tables, down, across}, state) => [
    [`${down} \\ ${across}`, ...columns],
    ...Object.values(tables)[state.table].map((line, i) => [rows[i], ...line.map(shown)]),
  ],
};

const CHARTS = {curves, dots, matrix};

function mount(figure) {
  const chart = CHARTS[figure.dataset.chart];
  const data = JSON.parse(figure.querySelector("script").textContent);
  const state = chart.state?.(data) ?? {};
  const canvas = figure.querySelector(".canvas");
  const [name, description] = figure.querySelector("figcaption").childNodes;
  const label = name.textContent.replace(/\.$/, "");
  const listing = make("details", {ontoggle: () => list()}, make("summary", {}, "This chart as a table"));
  let width = 0;

  function draw() {
    const drawn = Plot.plot({...chart.draw(data, state, width), ariaLabel: label, ariaDescription: description.textContent.trim()});
    drawn.setAttribute("role", "img");
    // Plot names its groups by a label, which a group without a role may not have.
    for (const group of drawn.querySelectorAll("g[aria-label]")) {
      group.dataset.mark = group.getAttribute("aria-label");
      group.removeAttribute("aria-label");
    }
    // Bands of several rows lie on each other: that of the line whose value is shown stands out.
    drawn.addEventListener("input", () => {
      const tone = drawn.value && colour(drawn.value.row);
      for (const band of drawn.querySelectorAll("[data-mark=area] path")) {
        band.classList.toggle("pointed", band.getAttribute("fill") === tone);
      }
    });
    canvas.replaceChildren(drawn);
    list();
  }
  // Large tables cost time, so they are made when they are looked at.
  function list() {
    listing.querySelector(".scroll")?.remove();
    if (!listing.open) return;
    const [head, ...lines] = chart.table(data, state);
    listing.append(make("div", {className: "scroll", tabIndex: 0, role: "region", ariaLabel: label}, make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", {scope: "col"}, text)))),
      make("tbody", {}, ...lines.map(([first, ...rest]) => make("tr", {}, make("th", {scope: "row"}, first), ...rest.map((text) => make("td", {}, text))))))));
  }

  figure.querySelector(".controls").append(...(chart.controls?.(data, state, draw) ?? []));
  figure.append(listing);
  new ResizeObserver(() => {
    const room = Math.floor(canvas.clientWidth);
    if (room && room !== width) { width = room; draw(); }
  }).observe(canvas);
}

document.querySelectorAll("figure[data-chart]").forEach(mount);
