// Filters, sorting, downloads and details. Everything is in the page: nothing is fetched, and every text is set as text.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const make = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const unpack = openrlb.unpack;

  // Downloads: a text that a spreadsheet would compute is kept from it; numbers stay numbers.
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value ?? "");
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    return (columns[names[0]] || []).map((_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
  };
  const written = {
    csv: (columns) => [Object.keys(columns), ...rowsOf(columns).map(Object.values)].map((row) => row.map(cell).join(",")).join("\n") + "\n",
    json: (columns) => JSON.stringify(rowsOf(columns), null, 1) + "\n",
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-numbers]");
    if (!button) return;
    const kind = button.dataset.as;
    const text = written[kind](await unpack(button.dataset.numbers));
    const address = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
    make("a", { href: address, download: button.dataset.name + "." + kind }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });

  // Filters of a table.
  const filtered = (box) => {
    const rows = [...box.querySelectorAll("tbody tr")];
    const names = [...box.querySelectorAll("thead th")].map((head) => head.textContent);
    const words = rows.map((row) => row.textContent.toLowerCase());
    const text = make("input", { type: "search", placeholder: "any word in a row", autocomplete: "off", spellcheck: "false" });
    const chosen = box.dataset.filters.split(",").map(Number).map((place) => {
      const values = [...new Set(rows.map((row) => row.cells[place].textContent))];
      values.sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
      const options = values.map((value) => make("option", { value }, value || "(none)"));
      return { place, select: make("select", {}, make("option", { value: "\0" }, "all"), ...options) };
    });
    const told = make("output", { "aria-live": "polite" });
    const apply = () => {
      const asked = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        const fits = asked.every((word) => words[index].includes(word)) &&
          chosen.every(({ place, select }) => select.value === "\0" || row.cells[place].textContent === select.value);
        row.hidden = !fits;
        shown += fits;
      });
      told.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    };
    const clear = make("button", { type: "button" }, "Show all");
    clear.addEventListener("click", () => {
      text.value = "";
      chosen.forEach(({ select }) => { select.value = "\0"; });
      apply();
      text.focus();
    });
    const controls = [make("label", {}, "Search", text), ...chosen.map(({ place, select }) => make("label", {}, names[place], select))];
    const bar = make("div", { class: "filters", role: "search", "aria-label": "Choose rows" }, ...controls, clear, told);
    bar.addEventListener("input", apply);
    box.prepend(bar);
    apply();
  };

  // Sorting: by a column, the other way round, and as it was.
  const sortable = (table) => {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      if (!head.textContent || first.some((row) => row.cells[place].querySelector("svg"))) return;
      const numeric = head.classList.contains("number");
      const value = (row) => row.cells[place].textContent;
      const number = (row) => parseFloat(value(row).replaceAll(",", ""));
      const order = (one, other) => {
        if (!numeric) return value(one).localeCompare(value(other), "en", { numeric: true });
        const [left, right] = [number(one), number(other)];
        return Number.isNaN(left) || Number.isNaN(right) ? NaN : left - right;
      };
      const button = make("button", { type: "button", class: "sort", title: "Sort by this column" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] || "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        if (next !== "none") head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const known = numeric ? first.filter((row) => !Number.isNaN(number(row))) : [...first];
        const rest = numeric ? first.filter((row) => Number.isNaN(number(row))) : [];
        body.append(...(next === "none" ? first : [...known.sort((one, other) => sign * order(one, other)), ...rest]));
      });
    });
  };

  // Details of one row, in the place below its table, for the address that its link leads to.
  let known = null;
  const place = byId("detail");
  const list = (facts) => make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  const tableOf = (content) => {
    const look = (column) => (content.columns[column].numeric ? { class: "number" } : {});
    const row = (cells) => make("tr", {}, ...cells.map((text, at) => make(at ? "td" : "th", { ...look(at), ...(at ? {} : { scope: "row" }) }, text)));
    const head = make("tr", {}, ...content.columns.map((column, at) => make("th", { ...look(at), scope: "col" }, column.name)));
    const table = make("table", {}, make("caption", {}, content.caption), make("thead", {}, head), make("tbody", {}, ...content.rows.map(row)));
    const region = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": content.caption }, table);
    if (!content.folded) return region;
    return make("details", {}, make("summary", {}, `${content.caption} (${content.rows.length.toLocaleString("en")})`), region);
  };
  const axis = (title) => ({ title: { text: title, standoff: 6, font: { size: 12 } }, showline: true, linecolor: "#1a1a1a", ticks: "outside", gridcolor: "#e6e6e6", zeroline: false });
  const lineOf = (line) => {
    const box = make("div", { class: "plot line", role: "img", "aria-label": line.about });
    const data = [{ type: "scatter", mode: line.x.length > 1 ? "lines" : "markers", x: line.x, y: line.y, line: { color: "#0072B2", width: 1.6 }, marker: { color: "#0072B2" } }];
    const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const layout = { height: 260, margin: { l: 64, r: 12, t: 10, b: 46 }, font: { family: "Helvetica, Arial, 'Liberation Sans', sans-serif", size: 12, color: "#1a1a1a" }, paper_bgcolor: "#ffffff", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis(plain(line.x_title)), yaxis: axis(plain(line.y_title)), dragmode: false };
    return { box, draw: async () => (await openrlb.plotly).newPlot(box, data, layout, { displayModeBar: false, responsive: true }), whole: make("figure", {}, box, make("figcaption", {}, line.caption)) };
  };
  const beside = (name) => {
    const links = [...document.querySelectorAll('a[href^="#run="]')].filter((link) => !place.contains(link) && !link.closest("tr").hidden);
    const at = links.findIndex((link) => link.hash === name);
    const step = (text, link) => (link ? make("a", { href: link.getAttribute("href") }, text) : null);
    const back = make("a", { href: "#" + place.dataset.home }, "Back to the table");
    return { nav: make("nav", { class: "steps", "aria-label": "Other rows" }, step("Previous", at > 0 ? links[at - 1] : null), step("Next", at >= 0 ? links[at + 1] : null), back), link: links[at] };
  };
  const show = async () => {
    if (!place) return;
    const asked = location.hash.match(/^#run=(.*)$/);
    if (!asked) {
      place.hidden = true;
      place.replaceChildren();
      return;
    }
    known = known || (await unpack("detail-data"));
    let name = "";
    try { name = decodeURIComponent(asked[1]); } catch { return; }
    const detail = known.details.find((each) => each.name === name);
    if (!detail) return;
    const heading = make("h3", { tabindex: "-1" }, detail.title);
    const notes = detail.notes.length ? make("ul", { class: "notes", "aria-label": "Notes" }, ...detail.notes.map((note) => make("li", {}, note))) : null;
    const command = detail.command || detail.command_note ? make("p", { class: "command" }, detail.command ? make("code", {}, detail.command) : null, detail.command ? make("br") : null, detail.command_note) : null;
    const line = detail.line ? lineOf(detail.line) : null;
    const tables = [...detail.tables, ...detail.shared.map((one) => known.shared[one]).filter(Boolean)].map(tableOf);
    place.replaceChildren(heading, beside(location.hash).nav, list(detail.facts), ...[command, line && line.whole, notes, ...tables].filter(Boolean));
    place.hidden = false;
    if (line) line.draw();
    heading.focus({ preventScroll: true });
    place.scrollIntoView({ block: "start" });
  };

  document.querySelectorAll(".filtered").forEach(filtered);
  document.querySelectorAll("table[data-sortable]").forEach(sortable);
  addEventListener("hashchange", show);
  show();
})();
