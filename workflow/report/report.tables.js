"use strict";

// Tables of class "sortable": a click on a column's head sorts by it, another turns the order round, a third restores
// the order of the file. Large ones get a box that leaves only the rows which hold every word.
const FEWEST_ROWS_TO_FILTER = 10;
const ORDERS = [null, "ascending", "descending"];
const NATURAL = new Intl.Collator("en", { numeric: true });

function readCell(cell) {
  // A cell over several columns says why they are empty.
  if (!cell || cell.colSpan > 1) return { text: "", isEmpty: true, number: NaN };
  const data = cell.querySelector("data");
  const text = cell.textContent.trim();
  // Thousands are set apart by thin spaces.
  const written = data ? data.value : text.replace(/(\d)\u202f(?=\d)/g, "$1");
  const isEmpty = ["", "–", "nan"].includes(written) || data?.textContent === "–";
  return { text, isEmpty, number: isEmpty ? NaN : readNumber(written) };
}

function readNumber(text) {
  const infinite = { inf: Infinity, "+inf": Infinity, "-inf": -Infinity };
  return infinite[text] ?? Number(text);
}

function compareBy(cells, sign) {
  // Cells that say nothing stand last, whichever way the others go.
  const isNumeric = [...cells.values()].every((cell) => cell.isEmpty || !Number.isNaN(cell.number));
  const order = isNumeric
    ? (a, b) => (a.number < b.number ? -1 : Number(a.number > b.number))
    : (a, b) => NATURAL.compare(a.text, b.text);
  return (first, second) => {
    const [a, b] = [cells.get(first), cells.get(second)];
    return a.isEmpty || b.isEmpty ? Number(a.isEmpty) - Number(b.isEmpty) : sign * order(a, b);
  };
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = ORDERS[(ORDERS.indexOf(head.getAttribute("aria-sort")) + 1) % ORDERS.length];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) {
        head.setAttribute("aria-sort", order);
        const cells = new Map(rows.map((row) => [row, readCell(row.cells[column])]));
        body.append(...[...rows].sort(compareBy(cells, order === "ascending" ? 1 : -1)));
      } else {
        body.append(...rows);
      }
    });
  });
}

function addFilter(table) {
  const region = table.closest(".scroll");
  const box = document.createElement("p");
  const label = document.createElement("label");
  const input = document.createElement("input");
  const status = document.createElement("span");
  box.className = "filter";
  input.type = "search";
  input.autocomplete = "off";
  input.setAttribute("aria-label", `Filter: ${region.getAttribute("aria-label")}`);
  status.setAttribute("role", "status");
  label.append("Filter: ", input);
  box.append(label, " ", status);
  region.before(box);
  let texts = null;
  input.addEventListener("input", () => {
    texts ??= [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of texts) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    status.textContent = words.length ? `${shown} of ${texts.length} rows` : "";
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  makeSortable(table);
  if (table.tBodies[0].rows.length >= FEWEST_ROWS_TO_FILTER) addFilter(table);
}

// A table that is wider than its place says so.
const measured = new ResizeObserver((entries) => {
  for (const { target } of entries) target.classList.toggle("wide", target.scrollWidth > target.clientWidth + 1);
});
for (const region of document.querySelectorAll(".scroll")) measured.observe(region);
