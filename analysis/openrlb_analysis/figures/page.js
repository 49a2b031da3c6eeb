// Draws every figure for the width it has, again when that changes, and for paper when the page is printed.
(() => {
  "use strict";
  const PAPER = 660;
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };
  const copy = (value) => JSON.parse(JSON.stringify(value));
  const boxes = [...document.querySelectorAll(".plot")];
  let figures = [];
  let plotly = null;
  const fitting = (drawing, width) => [...drawing.layouts].reverse().find((each) => each.width <= width) || drawing.layouts[0];
  const draw = (figure, paper) => {
    if (figure.box.closest("details:not([open])")) return; // drawn when it is opened
    const chosen = fitting(figure.drawing, paper || figure.box.clientWidth);
    const key = paper ? -paper : chosen.width;
    if (figure.width === key) return;
    if (figure.width === 0) figure.box.textContent = "";
    figure.width = key;
    const layout = copy(chosen.layout);
    if (paper) layout.width = paper;
    figure.box.style.minHeight = layout.height + "px";
    plotly.react(figure.box, figure.drawing.data, layout, config);
  };
  const all = (paper) => plotly && figures.forEach((figure) => draw(figure, paper));
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => all(0), 120); });
  document.addEventListener("toggle", () => all(0), true);
  const folded = [...document.querySelectorAll("details.folded:not([open])")];
  addEventListener("beforeprint", () => {
    folded.forEach((part) => { part.open = true; });
    all(PAPER);
  });
  addEventListener("afterprint", () => {
    folded.forEach((part) => { part.open = false; });
    all(0);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-save]");
    if (!button) return;
    const found = figures.find((figure) => figure.box.id === button.dataset.figure);
    if (!found || !plotly) return;
    const { drawing } = found;
    const { layout, width } = drawing.image;
    const options = { format: button.dataset.save, filename: button.dataset.name, width, height: layout.height, scale: button.dataset.save === "svg" ? 1 : 3 };
    plotly.downloadImage({ data: drawing.data, layout: { ...copy(layout), width }, config }, options);
  });
  const begin = async () => {
    figures = await Promise.all(boxes.map(async (box) => ({ box, drawing: await openrlb.unpack(box.id + "-drawing"), width: 0 })));
    plotly = await openrlb.plotly;
    all(0);
  };
  begin().catch((error) => {
    boxes.forEach((box) => { box.textContent = "This browser could not draw the figure; its numbers are in the table below."; });
    throw error;
  });
})();
