"use strict";

const rows = [...document.querySelectorAll("tr[data-text]")].map((row) => [row, row.textContent.toLowerCase()]);
const search = document.getElementById("search");
const count = document.getElementById("count");

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [row, text] of rows) {
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  count.textContent = words.length ? `${shown} of ${rows.length} lines` : "";
});
