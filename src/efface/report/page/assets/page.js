"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const PAGE = 50, LONGEST = 700;
  const VERDICTS = { leaks: "still leaks", broken: "broken", forgotten: "forgotten", kept: "kept", unknown: "not known before" };
  const COLORS = ["#1f77b4", "#d1495b", "#2a9d6f", "#b07d12", "#7d5ba6", "#3aa3a0", "#c2588f", "#6b7280"];
  const STYLES = { before: "circle", epoch: "circle", request: "rect", after: "rectRot", model: "triangle" };

  /* Text goes into the page as text alone, never as markup, and each piece keeps its direction to itself. */
  function make(name, text, attributes = {}) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined && text !== null) element.textContent = text;
    return element;
  }

  /* ---- theme ---- */
  const theme = document.getElementById("theme");
  const charts = [];
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function showTheme() {
    theme.textContent = isDark() ? "Light theme" : "Dark theme";
    charts.forEach((chart) => { paint(chart); chart.update("none"); });
  }
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);

  /* ---- charts ---- */
  Chart.defaults.font.family = "system-ui, sans-serif";
  Chart.defaults.font.size = 13;
  function paint(chart) {
    const style = getComputedStyle(chart.canvas.parentElement);
    const ink = style.color, line = style.borderTopColor;
    chart.options.color = ink;
    for (const scale of Object.values(chart.options.scales)) {
      scale.grid.color = line;
      scale.ticks.color = ink;
      scale.title.color = ink;
    }
  }
  function draw(canvas, type, datasets, x, y, tooltip) {
    const axis = (title, more) => ({ type: "linear", title: { display: true, text: title }, grid: {}, ticks: {}, ...more });
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const chart = new Chart(canvas, {
      type,
      data: { datasets },
      options: {
        responsive: true, maintainAspectRatio: false, animation: still ? false : { duration: 250 },
        interaction: { mode: "nearest", intersect: false },
        scales: { x: axis(...x), y: axis(...y) },
        plugins: { legend: { labels: { usePointStyle: true } }, tooltip: { callbacks: tooltip } },
      },
    });
    charts.push(chart);
    paint(chart);
    chart.update("none");
  }
  function drawPlane(canvas) {
    const datasets = data.plane.filter((run) => run.points.length).map((run, place) => {
      const color = COLORS[place % COLORS.length];
      return {
        label: run.name, data: run.points, clip: false, showLine: run.points.length > 1, borderColor: color, borderWidth: 1.5,
        pointStyle: run.points.map((point) => STYLES[point.kind]),
        pointRadius: run.points.map((point) => (point.kind === "epoch" ? 4 : 8)),
        pointHoverRadius: 10, pointBorderWidth: 2,
        pointBackgroundColor: run.points.map((point) => (point.kind === "before" ? "transparent" : color)),
      };
    });
    draw(canvas, "scatter", datasets, ["Model Utility: kept →", { min: 0, max: 1 }],
      ["Forget Efficacy: forgotten →", { min: 0, max: 1 }], {
        label: (item) => `${item.dataset.label}, ${item.raw.label}: utility ${item.raw.x.toFixed(3)}, efficacy ${item.raw.y.toFixed(3)}`,
      });
  }
  function drawCurves(canvas, curves) {
    const terms = [["forget", "Forget", [6, 4]], ["retain", "Retain", [2, 3]], ["loss", "Total", []]];
    const datasets = terms.map(([key, label, dash], place) => ({
      label, data: curves.step.map((step, at) => ({ x: step, y: curves[key][at] })), borderColor: COLORS[[1, 2, 0][place]],
      backgroundColor: COLORS[[1, 2, 0][place]], borderDash: dash, borderWidth: 2, pointRadius: curves.step.length > 40 ? 0 : 2,
      pointStyle: "line",
    }));
    draw(canvas, "line", datasets, ["Optimizer step", {}], ["Loss", {}], {});
  }
  function drawVisible() {
    document.querySelectorAll("canvas").forEach((canvas) => {
      if (canvas.dataset.drawn || canvas.closest("[hidden]")) return;
      canvas.dataset.drawn = "yes";
      if ("plane" in canvas.dataset) drawPlane(canvas);
      else drawCurves(canvas, data.runs[canvas.dataset.curves].curves);
    });
  }

  /* ---- questions ---- */
  function explore(section) {
    const run = data.runs[section.dataset.run];
    const part = (name) => section.querySelector(`[data-part="${name}"]`);
    if (!part("rows")) return;
    const buttons = [...section.querySelectorAll("[data-verdict]")];
    const found = run.rows.map((row) => ({ row, text: row.slice(1, 4).concat(row[4].map((each) => each[1])).join(" ").toLowerCase() }));
    let left = [], shown = 0;

    function filter() {
      const words = part("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const verdicts = buttons.filter((each) => each.getAttribute("aria-pressed") === "true").map((each) => each.dataset.verdict);
      const set = part("set").value;
      left = found.filter(({ row, text }) => (!set || row[0] === set) && (!verdicts.length || verdicts.includes(row[7])) &&
        words.every((word) => text.includes(word)));
      if (part("order").value === "place") left.sort((one, other) => one.row[8] - other.row[8]);
      part("rows").replaceChildren();
      shown = 0;
      show(PAGE);
    }
    function show(count) {
      const next = left.slice(shown, shown + count);
      part("rows").append(...next.map(({ row }) => line(row, run.single)));
      shown += next.length;
      part("count").textContent = left.length
        ? `${shown.toLocaleString("en")} of ${left.length.toLocaleString("en")} questions shown` +
          (left.length < found.length ? ` (${found.length.toLocaleString("en")} in all)` : "")
        : "No question is like that.";
      part("more").hidden = part("all").hidden = shown >= left.length;
    }
    let waiting;
    part("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
    section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    part("set").addEventListener("change", filter);
    part("order").addEventListener("change", filter);
    buttons.forEach((button) => button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      filter();
    }));
    part("more").addEventListener("click", () => show(PAGE));
    part("all").addEventListener("click", () => show(left.length));
    filter();
  }

  function line(row, single) {
    const [set, id, question, answer, parts, before, after, verdict] = row;
    const tr = make("tr", null, { role: "row" });
    const head = make("th", null, { role: "rowheader", scope: "row" });
    const tag = make("p", null, { class: "tag" });
    if (verdict && !(single && verdict === "unknown")) tag.append(make("span", VERDICTS[verdict], { class: `badge ${verdict}` }), " ");
    tag.append(`${set} · `, make("bdi", id, { class: "id" }));
    const right = make("div", null, { class: "answer" });
    right.append("Right answer:", cut([[0, answer]]));
    head.append(tag, cut([[0, question]]), right);
    tr.append(head);
    const said = (heading, there, side) => {
      const cell = make("td", null, { role: "cell", "data-heading": heading });
      const mine = parts.filter(([where]) => where === 0 || where === side);
      if (!there) cell.append(make("span", "not yet", { class: "nothing" }));
      else if (!mine.length) cell.append(make("span", "(nothing)", { class: "nothing" }));
      else cell.append(cut(before && after ? mine : mine.map(([, text]) => [0, text])));
      tr.append(cell);
    };
    if (!single) said("Before", before, -1);
    said(single ? "Answer" : "After", after, 1);
    tr.append(scores(before, after));
    return tr;
  }

  /* Segments as text; of a long one the start, and a button that shows the rest. */
  function cut(parts) {
    const holder = make("div"), whole = parts.reduce((sum, [, text]) => sum + text.length, 0);
    const fill = (most) => {
      const bdi = make("bdi", null, { dir: "auto" });
      let room = most;
      for (const [side, text] of parts) {
        if (room <= 0) break;
        if (bdi.hasChildNodes()) bdi.append(" ");
        bdi.append(make(side < 0 ? "del" : side > 0 ? "ins" : "span", text.length > room ? `${text.slice(0, room)}…` : text));
        room -= text.length;
      }
      return bdi;
    };
    holder.append(fill(LONGEST));
    if (whole > LONGEST) {
      const button = make("button", `Show all ${whole.toLocaleString("en")} characters`, { type: "button", class: "cut" });
      button.addEventListener("click", () => { holder.replaceChildren(fill(Infinity)); });
      holder.append(button);
    }
    return holder;
  }

  function scores(before, after) {
    const cell = make("td", null, { role: "cell", "data-heading": "Scores" }), list = make("dl");
    const number = (values, at) => (values && values[at] !== null ? values[at].toFixed(2) : "–");
    data.metrics.forEach((name, at) => {
      const pair = make("div");
      const value = before && after ? `${number(before, at)} → ${number(after, at)}` : number(before || after, at);
      pair.append(make("dt", name), make("dd", value));
      list.append(pair);
    });
    cell.append(list);
    return cell;
  }

  /* ---- tabs ---- */
  const tabs = [...document.querySelectorAll("[role=tab]")];
  function choose(place) {
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === place));
      tab.tabIndex = at === place ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = at !== place;
    });
    drawVisible();
  }
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(place));
    tab.addEventListener("keydown", (event) => {
      const move = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      const next = (move + tabs.length) % tabs.length;
      choose(next);
      tabs[next].focus();
    });
  });

  document.querySelectorAll(".explorer").forEach(explore);
  if (tabs.length) choose(0);
  else drawVisible();
  showTheme();

  /* On paper all runs are shown, and the charts are those of the light theme. */
  let screen;
  addEventListener("beforeprint", () => {
    screen = { theme: root.dataset.theme, tab: tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true") };
    root.dataset.theme = "light";
    document.querySelectorAll("[role=tabpanel]").forEach((panel) => { panel.hidden = false; });
    drawVisible();
    showTheme();
    charts.forEach((chart) => chart.resize());
  });
  addEventListener("afterprint", () => {
    if (screen.theme) root.dataset.theme = screen.theme;
    else delete root.dataset.theme;
    if (tabs.length) choose(screen.tab);
    showTheme();
  });
})();
