"use strict";
// One view at a time; tables that sort by a click or a key; a filter; how a row's runs were made; all of it in the
// address, as
// #VIEW-OR-TABLE?filter=WORDS&data=NAME&sort=TABLE:COLUMN:DIRECTION&run=RUNS, so that
// a link gives back what was seen.
(() => {
  const all = (selector, under = document) => [...under.querySelectorAll(selector)];
  const form = document.querySelector("form[role=search]");
  const dialog = document.querySelector("dialog");
  const runs = all("details.run");
  const views = all(".view");
  if (!views.length) return;
  const tables = all("section.table").map((section) => {
    const found = all("table:not(.published, .heat)", section);
    return { section, all: found, main: found[0], rows: found.map((table) => [...table.tBodies[0].rows]) };
  });
  let params = new URLSearchParams();

  const number = (text) => parseFloat(text.replace(/^\(|,/g, ""));
  const text = (row, column) => row.cells[column].textContent;

  /** Order the rows of all parts of a table as those of its first, which are ordered by a column. */
  function sort(table, column, direction) {
    const rows = table.rows[0];
    const numeric = rows.some((row) => !isNaN(number(text(row, column)))) && !headings(table)[column].matches(".pinned");
    const missing = (row) => numeric && isNaN(number(text(row, column)));
    const sign = direction === "descending" ? -1 : 1;
    const compare = (a, b) => numeric
      ? number(text(a, column)) - number(text(b, column))
      : text(a, column).localeCompare(text(b, column), undefined, { numeric: true });
    const order = [...rows.keys()].sort((i, j) =>
      missing(rows[i]) - missing(rows[j]) || (missing(rows[i]) ? 0 : sign * compare(rows[i], rows[j])) || i - j);
    place(table, order);
    mark(table, column, direction);
  }

  function place(table, order) {
    table.all.forEach((part, k) => part.tBodies[0].append(...order.map((i) => table.rows[k][i])));
  }

  function mark(table, column, direction) {
    headings(table).forEach((heading, i) => {
      if (i === column) heading.setAttribute("aria-sort", direction);
      else heading.removeAttribute("aria-sort");
    });
  }

  const headings = (table) => [...table.main.tHead.rows[table.main.tHead.rows.length - 1].cells];

  /** Best first, then worst first, then as the table was. */
  function next(heading) {
    const directions = heading.dataset.better === "higher" ? ["descending", "ascending"] : ["ascending", "descending"];
    return directions[directions.indexOf(heading.getAttribute("aria-sort")) + 1];
  }

  function filter() {
    const words = form.elements.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const data = form.elements.data.value;
    let shown = 0, count = 0;
    for (const { section, rows } of tables) {
      const view = section.closest(".view").querySelector("h2").textContent;
      const title = section.querySelector("h3").textContent.replace(view, "").toLowerCase();
      const chosen = !data || section.dataset.set === data;
      const seen = rows[0]?.map((row) => {
        const whole = title + " " + row.textContent.toLowerCase();
        return chosen && words.every((word) => whole.includes(word));
      }) ?? [];
      rows.forEach((part) => part.forEach((row, i) => { row.hidden = !seen[i]; }));
      section.hidden = !(seen.length ? seen.some(Boolean) : chosen && !words.length);
      if (!section.closest(".view").hidden) {
        shown += seen.filter(Boolean).length;
        count += seen.length;
      }
    }
    for (const run of runs) {
      const summary = run.querySelector("summary").textContent.toLowerCase();
      run.hidden = !words.every((word) => summary.includes(word)) || !(!data || summary.includes(data.toLowerCase()));
    }
    form.querySelector("output").textContent = count ? `${shown} of ${count} rows` : "";
  }

  /** How the runs of a row were made, over the page. */
  function open(name) {
    const made = name && document.getElementById(name);
    if (!made?.matches(".made")) return dialog.close();
    const copy = made.cloneNode(true);
    copy.removeAttribute("id");
    dialog.querySelector("div").replaceChildren(copy);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  /** Show what the address says. */
  function restore(moved) {
    const [place, query] = location.hash.slice(1).split(/\?(.*)/s);
    if (query !== undefined) params = new URLSearchParams(query);
    const target = document.getElementById(place);
    const view = target?.closest(".view") ?? views[0];
    for (const each of views) each.hidden = each !== view;
    for (const link of all("nav a")) {
      if (link.hash === "#" + view.id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    form.elements.filter.value = params.get("filter") ?? "";
    form.elements.data.value = params.get("data") ?? "";
    if (form.elements.data.selectedIndex < 0) form.elements.data.value = "";
    const sorted = new Map(params.getAll("sort").map((item) => [item.split(":")[0], item.split(":").slice(1)]));
    for (const table of tables.filter((one) => one.main)) {
      const [column, direction] = sorted.get(table.section.id) ?? [];
      if (headings(table)[column] && ["ascending", "descending"].includes(direction)) sort(table, +column, direction);
      else unsort(table);
    }
    filter();
    open(params.get("run"));
    if (moved && query === undefined) keep(target ? place : view.id);
    if (target && target !== view) target.scrollIntoView();
  }

  function unsort(table) {
    place(table, [...table.rows[0].keys()]);
    mark(table, -1);
  }

  function keep(place = location.hash.slice(1).split("?")[0] || views[0].id) {
    const query = params.toString();
    history.replaceState(null, "", "#" + place + (query ? "?" + query : ""));
  }

  function set(key, value) {
    if (value) params.set(key, value);
    else params.delete(key);
    keep();
  }

  for (const table of tables.filter((one) => one.main?.tBodies[0].rows.length)) {
    headings(table).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const direction = next(heading);
        if (direction) sort(table, column, direction);
        else unsort(table);
        const others = params.getAll("sort").filter((item) => item.split(":")[0] !== table.section.id);
        params.delete("sort");
        for (const item of others) params.append("sort", item);
        if (direction) params.append("sort", `${table.section.id}:${column}:${direction}`);
        keep();
      });
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.filter.addEventListener("input", (event) => { set("filter", event.target.value); filter(); });
  form.elements.data.addEventListener("change", (event) => { set("data", event.target.value); filter(); });
  for (const link of all("a.run")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      set("run", link.hash.slice(1));
      open(link.hash.slice(1));
    });
  }
  dialog.addEventListener("close", () => set("run", ""));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  addEventListener("hashchange", () => restore(true));
  form.hidden = false;
  document.documentElement.classList.add("scripted");
  restore(false);
})();
