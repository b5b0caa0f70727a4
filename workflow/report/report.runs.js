"use strict";

// One run alone, at the address #run-ID. It is laid out here, from one table for all runs: as markup, a thousand of them
// would be most of the page. Whatever names and reasons say goes in as text.
const runTable = JSON.parse(document.getElementById("run-table").textContent);
// Models that ask for the same share a run.
const runsById = new Map();
for (const run of runTable.runs) runsById.set(run.id, [...(runsById.get(run.id) ?? []), run]);
const report = [...document.querySelectorAll("body > header, body > main")].filter((part) => part.id !== "one-run");
const runPage = document.getElementById("one-run");
const reportTitle = document.title;
const addressOf = (run) => `#run-${encodeURIComponent(run.id)}`;
let lastRun = null;
let lastPlace = "";
let curve = null;

function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function makeTable(label, caption, heads, rows) {
  const table = make("table", heads.length ? {} : { class: "facts" }, make("caption", {}, caption));
  if (heads.length) table.append(make("thead", {}, make("tr", {}, ...heads.map((h) => make("th", { scope: "col" }, h)))));
  const lines = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, ...[name].flat()), ...cells.map((cell) => make("td", {}, ...[cell].flat()))),
  );
  table.append(make("tbody", {}, ...lines));
  return make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
}

function makeMetrics(run, columns) {
  const [metrics, splits] = [0, 1].map((place) => [...new Set(columns.map((column) => column[place]))]);
  const rows = metrics.map((metric) => [metric, ...splits.map((split) => {
    const value = run.values[columns.findIndex((column) => column[0] === metric && column[1] === split)];
    if (!value) return "–";
    const [exact, shown, interval] = value;
    return [make("data", { value: exact, title: exact }, shown), " ", make("span", { class: "note" }, interval)];
  })]).filter((row) => row.slice(1).some((cell) => cell !== "–"));
  if (!rows.length) return make("p", {}, "It left no metric.");
  const hasIntervals = run.values.some((value) => value?.[2]);
  const words = hasIntervals ? "In brackets the bootstrap interval over the samples of the split" : "Of its best epoch";
  return makeTable("Metrics", words, ["metric", ...splits], rows);
}

function makeParameters(run, swept) {
  const pairs = runTable.parameters[run.parameters];
  const isSwept = ([name]) => swept.includes(name);
  const ordered = [...pairs.filter(isSwept), ...pairs.filter((pair) => !isSwept(pair))];
  const rows = ordered.map(([name, value]) => [
    isSwept([name]) ? [name, " ", make("span", { class: "badge" }, "swept")] : name,
    make("code", {}, value),
  ]);
  return makeTable("Parameters", "Of the model and of its training, defaults included", [], rows);
}

function makeNeighbours(run) {
  const place = runTable.runs.indexOf(run);
  const links = [[-1, "Previous"], [1, "Next"]].map(([step, word]) => {
    const other = runTable.runs[place + step];
    const exists = other?.candidate === run.candidate;
    return make("li", {}, exists ? make("a", { href: addressOf(other) }, `${word}: seed ${other.seed}`) : `${word}: none`);
  });
  const back = make("li", {}, make("a", { href: "#results" }, "Back to all results"));
  return make("nav", { "aria-label": "Runs of the same candidate" }, make("ul", {}, back, ...links));
}

// The chart of its model, with nothing but its own lines.
function findCurve(id) {
  for (const script of document.querySelectorAll("section[aria-labelledby=curves] .chart > script")) {
    const spec = JSON.parse(script.textContent);
    const isOwn = (row) => row.run === id;
    if (!spec.datasets.lines.some(isOwn)) continue;
    for (const [name, rows] of Object.entries(spec.datasets)) spec.datasets[name] = rows.filter(isOwn);
    // A layer without a mark would be an image without words for who can't see it.
    spec.layer = spec.layer.filter((layer) => spec.datasets[layer.data.name].length);
    for (const layer of spec.layer) layer.encoding.color.legend = null;
    return { ...spec, description: `Training and validation loss of run ${id} by epoch.` };
  }
  return null;
}

function makeCurve(run) {
  const spec = findCurve(run.id);
  if (!spec) return make("p", {}, "It left no learning curve.");
  const chart = make("div", { class: "chart" });
  const words = "Solid is the validation loss, dashed the training loss; a ring marks the best epoch. The axes are those of all runs. ";
  const zoom = make("span", { class: "screen" }, "Ctrl and the wheel zoom, dragging moves, a double click resets.");
  // Its width is that of the page, which it joins first.
  queueMicrotask(() => { curve = drawChart(chart.appendChild(make("div", {})), spec); });
  return make("figure", {}, chart, make("figcaption", {}, words, zoom));
}

function showRun(runs) {
  const [run] = runs;
  const candidate = runTable.candidates[run.candidate];
  const name = `${candidate.name}, seed ${run.seed}`;
  const others = runs.slice(1).map((other) => ["shared with", runTable.candidates[other.candidate].name]);
  const heading = make("h1", { tabindex: "-1" }, name);
  const failure = run.status === "done" ? [] : [
    make("div", { class: "warning" }, make("strong", {}, run.status), ": ", make("pre", { class: "wrap" }, run.reason || (run.status === "failed" ? "no reason was left" : "nothing of it is there"))),
  ];
  const use = run.commands.length ? [make("h2", {}, "To use it"), make("pre", { tabindex: "0" }, run.commands.join("\n"))] : [];
  const facts = makeTable("Facts", "What is known of this run", [], [...candidate.facts, ...others, ...run.facts]);
  runPage.replaceChildren(
    makeNeighbours(run), heading, make("p", { class: "muted" }, make("code", {}, run.id)), ...failure, facts,
    make("h2", {}, "Metrics"), makeMetrics(run, candidate.columns), make("h2", {}, "Learning curve"), makeCurve(run),
    make("h2", {}, "Parameters"), makeParameters(run, candidate.swept), ...use,
  );
  document.title = `${name}: ${reportTitle}`;
  turnTo(true);
  scrollTo(0, 0);
  heading.focus({ preventScroll: true });
  lastRun = run;
}

function turnTo(isRun) {
  for (const part of report) part.hidden = isRun;
  runPage.hidden = !isRun;
  // Charts that fill the page measure it when its size changes, and could not while they were hidden.
  window.dispatchEvent(new Event("resize"));
}

function showReport(place) {
  runPage.replaceChildren();
  document.title = reportTitle;
  turnTo(false);
  const links = [...document.querySelectorAll("main code[data-run] a")];
  const link = lastRun && links.find((one) => one.hash === addressOf(lastRun) && one.getClientRects().length);
  if (link && ["#results", lastPlace].includes(place)) {
    link.scrollIntoView({ block: "center" });
    link.focus({ preventScroll: true });
  } else {
    document.getElementById(place.slice(1))?.scrollIntoView();
  }
  lastRun = null;
}

function findRuns(place) {
  try {
    return place.startsWith("#run-") ? runsById.get(decodeURIComponent(place.slice("#run-".length))) : undefined;
  } catch {
    return undefined;
  }
}

function route() {
  const place = location.hash;
  const runs = findRuns(place);
  curve?.then((drawn) => drawn?.finalize());
  curve = null;
  if (runs) showRun(runs);
  else if (!runPage.hidden) showReport(place);
  if (!runs) lastPlace = place;
}

for (const code of document.querySelectorAll("code[data-run]")) {
  const runs = runsById.get(code.textContent);
  if (runs) code.append(make("a", { href: addressOf(runs[0]) }, ...code.childNodes));
}
window.addEventListener("hashchange", route);
route();
