"use strict";
// Tables: a click, or Enter, on a heading sorts by it, and once more the other way round; empty cells stay last.
function sortTable(table, place) {
  const header = table.tHead.rows[0].cells[place];
  const falling = header.getAttribute("aria-sort") === "ascending";
  const key = (row) => {
    const cell = row.cells[place];
    const text = cell.textContent.trim();
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    return header.classList.contains("number") && text ? Number(text.replaceAll(",", "")) : text;
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => (a === "" || b === "" ? (a === "") - (b === "") : falling ? compare(b, a) : compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", falling ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, place) => {
    header.querySelector("button").addEventListener("click", () => sortTable(table, place));
  });
}

// Timeline: plotly.js draws it; the buttons do what wheel and drag do, for keyboards and fingers.
function showPart(plot, from, to) {
  const { minallowed, maxallowed } = plot.layout.xaxis;
  const length = Math.min(to - from, maxallowed - minallowed);
  const start = Math.min(Math.max(from, minallowed), maxallowed - length);
  return Plotly.relayout(plot, { "xaxis.range": [start, start + length] });
}

// Steps as means over `bins` equal spans around a part: drawn closer than a pixel, one would see nothing but their peaks.
function meanSteps(x, y, from, to, bins) {
  const width = (to - from) / bins;
  const sums = new Float64Array(bins);
  for (let step = 0; step + 1 < x.length; step++) {
    for (let bin = Math.max(0, Math.floor((x[step] - from) / width)); bin < bins && from + bin * width < x[step + 1]; bin++) {
      const inside = Math.min(x[step + 1], from + (bin + 1) * width) - Math.max(x[step], from + bin * width);
      sums[bin] += y[step] * Math.max(0, inside);
    }
  }
  return { x: [...sums.keys()].map((bin) => from + bin * width), y: [...sums].map((sum) => sum / width) };
}

async function showTimeline() {
  const plot = document.getElementById("timeline-plot");
  const figure = JSON.parse(document.getElementById("timeline-data").textContent);
  // A finger that drags over the plot scrolls the page, and a tap after a tap is no double click.
  const touch = matchMedia("(pointer: coarse)").matches;
  if (touch) figure.layout.dragmode = false;
  document.documentElement.classList.add("live");
  const config = { responsive: true, scrollZoom: true, displayModeBar: false, doubleClick: !touch && "reset" };
  await Plotly.newPlot(plot, figure.data, figure.layout, config);
  const place = figure.data.length - 1;
  const { x, y } = figure.data[place];
  const showDram = () => {
    const [from, to] = plot.layout.xaxis.range;
    const steps = meanSteps(x, y, from - (to - from), to + (to - from), 3 * plot.clientWidth);
    Plotly.restyle(plot, { x: [steps.x], y: [steps.y] }, [place]);
  };
  showDram();
  plot.on("plotly_relayout", showDram);
  const buttons = document.querySelector(".buttons");
  buttons.hidden = false;
  buttons.addEventListener("click", ({ target }) => {
    const [from, to] = plot.layout.xaxis.range;
    const [middle, length] = [(from + to) / 2, to - from];
    const { zoom, move, whole } = target.dataset;
    if (zoom) showPart(plot, middle - (length * zoom) / 2, middle + (length * zoom) / 2);
    if (move) showPart(plot, from + length * move, to + length * move);
    if (whole !== undefined) showPart(plot, 0, Infinity);
  });
}
showTimeline();

// On paper nothing is folded but what is too long for it.
const folded = [];
addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("details:not([open]):not(.long)"));
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded.splice(0)) each.open = false;
});
