"use strict";

// Vega's own expression interpreter (ast) instead of generated code: the page's security policy forbids eval.
const options = {
  mode: "vega-lite",
  renderer: "svg",
  ast: true,
  actions: false,
  defaultStyle: false,
  tooltip: { theme: "page", disableDefaultStyle: true },
};

for (const chart of document.querySelectorAll(".chart")) {
  const target = document.createElement("div");
  chart.append(target);
  const spec = JSON.parse(chart.querySelector("script").textContent);
  vegaEmbed(target, spec, options).catch((error) => {
    target.textContent = `This chart could not be drawn: ${error.message}`;
    console.error(error);
  });
}
