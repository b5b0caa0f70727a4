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

const ROOM_FOR_AXIS_PX = 45;

function drawChart(target, spec) {
  return vegaEmbed(target, spec, options).catch((error) => {
    target.textContent = `This chart could not be drawn: ${error.message}`;
    console.error(error);
  });
}

// A chart is drawn when it is about to be seen: a page with a thousand runs opens at once. Until then it keeps its room.
const approaching = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => drawOnce(entry.target)),
  { rootMargin: "50% 0px" },
);
const waiting = new Set(document.querySelectorAll(".chart"));

function drawOnce(chart) {
  if (!waiting.delete(chart)) return;
  approaching.unobserve(chart);
  const target = document.createElement("div");
  chart.append(target);
  drawChart(target, JSON.parse(chart.querySelector("script").textContent)).finally(() => {
    chart.style.minHeight = "";
  });
}

for (const chart of waiting) {
  if (chart.dataset.height) chart.style.minHeight = `${Number(chart.dataset.height) + ROOM_FOR_AXIS_PX}px`;
  approaching.observe(chart);
}

window.addEventListener("beforeprint", () => {
  [...waiting].filter((chart) => !chart.closest("[hidden]")).forEach(drawOnce);
});
