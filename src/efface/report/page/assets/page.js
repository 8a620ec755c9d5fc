"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const PAGE_SIZE = 50, MAX_AT_ONCE = 2000, MAX_LENGTH = 700, MAX_WORDS = 300;
  const VERDICTS = { leaks: "still leaks", likely: "still likely", broken: "broken", changed: "changed", forgotten: "forgotten", kept: "kept", unknown: "not known before" };
  const COLORS = ["#1f77b4", "#d1495b", "#2a9d6f", "#b07d12", "#7d5ba6", "#3aa3a0", "#c2588f", "#6b7280"];
  const STYLES = { before: "circle", epoch: "circle", request: "rect", after: "rectRot", model: "triangle" };

  /* Text is inserted as text nodes, never as markup; each text is isolated, so that its direction affects nothing else. */
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
  function updateTheme() {
    theme.textContent = isDark() ? "Light theme" : "Dark theme";
    charts.forEach((chart) => { paint(chart); chart.update("none"); });
  }
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    updateTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", updateTheme);

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
  /* Chart.js leaves out dashes where the legend shows point styles. */
  function legendLabels(type) {
    if (type !== "line") return { usePointStyle: true };
    const dashes = (chart, item) => chart.data.datasets[item.datasetIndex].borderDash || [];
    const labels = (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart);
    return {
      usePointStyle: true, pointStyleWidth: 30,
      generateLabels: (chart) => labels(chart).map((item) => ({ ...item, lineDash: dashes(chart, item) })),
    };
  }
  function draw(canvas, type, datasets, x, y, tooltip) {
    const axis = (title, options) => ({ type: "linear", title: { display: true, text: title }, grid: {}, ticks: {}, ...options });
    const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const chart = new Chart(canvas, {
      type,
      data: { datasets },
      options: {
        responsive: true, maintainAspectRatio: false, animation: reducedMotion ? false : { duration: 250 },
        interaction: { mode: "nearest", intersect: false },
        scales: { x: axis(...x), y: axis(...y) },
        plugins: { legend: { position: "bottom", labels: legendLabels(type) }, tooltip: { callbacks: tooltip } },
      },
    });
    charts.push(chart);
    paint(chart);
    chart.update("none");
  }
  function drawScatter(canvas) {
    const datasets = data.scatter.filter((run) => run.points.length).map((run, index) => {
      const color = COLORS[index % COLORS.length];
      return {
        label: run.name, data: run.points, clip: false, showLine: run.points.length > 1, borderColor: color, borderWidth: 1.5,
        pointStyle: run.points.map((point) => STYLES[point.type]),
        pointRadius: run.points.map((point) => (point.type === "epoch" ? 4 : 8)),
        pointHoverRadius: 10, pointBorderWidth: 2,
        pointBackgroundColor: run.points.map((point) => (point.type === "before" ? "transparent" : color)),
      };
    });
    draw(canvas, "scatter", datasets, ["Model utility: retained →", { min: 0, max: 1 }],
      ["Forget efficacy: forgotten →", { min: 0, max: 1 }], {
        label: (item) => `${item.dataset.label}, ${item.raw.label}: utility ${item.raw.x.toFixed(3)}, efficacy ${item.raw.y.toFixed(3)}`,
      });
  }
  function drawTune(canvas, tune) {
    const least = Math.min(tune.keep, ...tune.groups.flatMap(({ points }) => points.map((point) => point.x)));
    const groups = tune.groups.map(({ name, type, points }, index) => ({
      label: name, data: points, clip: false, borderColor: COLORS[index % COLORS.length], borderWidth: 2,
      backgroundColor: type === "chosen" ? COLORS[index % COLORS.length] : "transparent",
      pointStyle: type === "chosen" ? "rectRot" : "circle", pointRadius: type === "chosen" ? 11 : 5, pointHoverRadius: 12,
    }));
    const bound = {
      label: `bound: ${tune.keep}`, data: [{ x: tune.keep, y: 0 }, { x: tune.keep, y: 1 }], showLine: true, pointRadius: 0,
      borderColor: COLORS[7], borderDash: [6, 4], borderWidth: 2, pointStyle: "line",
    };
    draw(canvas, "scatter", [...groups, bound], ["Utility kept, as a share of before →", { min: Math.max(0, Math.floor(least * 10 - 0.5) / 10), suggestedMax: 1 }],
      ["Forget efficacy: forgotten →", { min: 0, max: 1 }], {
        label: (item) => item.raw.label ? `${item.raw.label}; keeps ${item.raw.x.toFixed(3)}, efficacy ${item.raw.y.toFixed(3)}` : item.dataset.label,
      });
  }
  /* terms: key in curves, label, color, dashes */
  function drawLines(canvas, curves, terms, y, x = ["Optimizer step", {}]) {
    const datasets = terms.map(([key, label, color, dash]) => ({
      label, data: curves.step.map((step, i) => ({ x: step, y: curves[key][i] })), borderColor: color, backgroundColor: color,
      borderDash: dash, borderWidth: 2, pointRadius: curves.step.length > 40 ? 0 : 2, pointStyle: "line", clip: false,
    })).filter(({ data }) => data.some((point) => point.y !== null));
    draw(canvas, "line", datasets, x, y, {});
  }
  function drawCurves(canvas, curves) {
    const terms = [["forget", "Forget", COLORS[1], [6, 4]], ["retain", "Retain", COLORS[2], [2, 3]], ["loss", "Total", COLORS[0], []]];
    drawLines(canvas, curves, terms, ["Loss", {}]);
  }
  function drawWatched(canvas, watched) {
    const terms = [["forget_answer", "Forget, answers", COLORS[1], []], ["forget_refusal", "Forget, refusals", COLORS[1], [6, 4]],
      ["retain_answer", "Retain, answers", COLORS[2], []], ["retain_refusal", "Retain, refusals", COLORS[2], [6, 4]]];
    drawLines(canvas, watched, terms, ["Log-probability of a token", {}]);
  }
  function drawWeight(canvas, watched) {
    drawLines(canvas, watched, [["ap_weight", "Retain", COLORS[2], []]], ["Weight of AP", { min: 0, max: 1 }]);
  }
  function drawRelearned(canvas, { step, lines }) {
    const labels = Object.keys(lines), arms = [...new Set(labels.map((label) => label.split(", ")[1]))];
    const terms = labels.map((label) => {
      const [model, arm] = label.split(", ");
      return [label, label, COLORS[arms.indexOf(arm) % COLORS.length], model === "control" ? [6, 4] : []];
    });
    drawLines(canvas, { step, ...lines }, terms, ["Share of the facts", { min: 0, max: 1 }]);
  }
  function drawLens(canvas, { step, lines }) {
    const styles = { before: [COLORS[2], []], control: [COLORS[7], [6, 4]], after: [COLORS[0], []] };
    const terms = Object.keys(lines).map((model) => [model, model, ...styles[model]]);
    drawLines(canvas, { step, ...lines }, terms, ["Log-probability", {}], ["Layer", { ticks: { precision: 0 } }]);
  }
  function drawVisible() {
    document.querySelectorAll("canvas").forEach((canvas) => {
      if (canvas.dataset.drawn || canvas.closest("[hidden]")) return;
      canvas.dataset.drawn = "true";
      if ("scatter" in canvas.dataset) drawScatter(canvas);
      else if ("tune" in canvas.dataset) drawTune(canvas, data.runs[canvas.dataset.tune].tune);
      else if ("watched" in canvas.dataset) drawWatched(canvas, data.runs[canvas.dataset.watched].watched);
      else if ("relearned" in canvas.dataset) drawRelearned(canvas, data.runs[canvas.dataset.relearned].relearned);
      else if ("lens" in canvas.dataset) drawLens(canvas, data.runs[canvas.dataset.lens].lens);
      else if ("weight" in canvas.dataset) drawWeight(canvas, data.runs[canvas.dataset.weight].watched);
      else drawCurves(canvas, data.runs[canvas.dataset.curves].curves);
    });
  }

  /* ---- questions ---- */
  /* Rows are compressed, in blocks; a block is decompressed when one of its rows is drawn, or all are searched. */
  async function decompress(text) {
    const letters = atob(text), bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  async function explore(section) {
    const run = data.runs[section.dataset.run];
    const part = (name) => section.querySelector(`[data-part="${name}"]`);
    if (!part("rows")) return;
    if (!("DecompressionStream" in window)) {
      part("count").textContent = "This browser is too old to show single questions.";
      return;
    }
    const buttons = [...section.querySelectorAll("[data-verdict]")];
    const { count, rowsPerBlock, blocks } = run.questions;
    const index = await decompress(run.questions.index);
    const opened = [];
    const block = (number) => (opened[number] ??= decompress(blocks[number]));
    const row = async (number) => (await block(Math.floor(number / rowsPerBlock)))[number % rowsPerBlock];
    let texts, matches = [], shown = 0, latest = 0, drawn = Promise.resolve();

    async function readTexts() {
      texts ??= (await Promise.all(blocks.map((_, number) => block(number)))).flat()
        .map((each) => each.slice(0, 5).join(" ").toLowerCase());
      return texts;
    }
    async function filter() {
      const version = ++latest;
      const words = part("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const verdicts = buttons.filter((each) => each.getAttribute("aria-pressed") === "true").map((each) => each.dataset.verdict);
      const set = part("set").value, inOrder = part("order").value === "data";
      let found = [...Array(count).keys()].filter((number) => (!set || index.set[number] === set) &&
        (!verdicts.length || verdicts.includes(index.verdict[number])));
      if (words.length) {
        await readTexts();
        if (version !== latest) return;
        found = found.filter((number) => words.every((word) => texts[number].includes(word)));
      }
      if (inOrder) found.sort((one, other) => index.order[one] - index.order[other]);
      matches = found;
      shown = 0;
      part("rows").replaceChildren();
      await show(PAGE_SIZE);
    }
    function show(number) {
      drawn = drawn.then(() => drawRows(number));
      return drawn;
    }
    async function drawRows(number) {
      const version = latest, next = matches.slice(shown, shown + number);
      const rows = await Promise.all(next.map(row));
      if (version !== latest) return;
      part("rows").append(...rows.map((each, i) => questionRow(each, index.set[next[i]], index.verdict[next[i]], run.single)));
      shown += next.length;
      part("count").textContent = matches.length
        ? `${shown.toLocaleString("en")} of ${matches.length.toLocaleString("en")} questions shown` +
          (matches.length < count ? ` (${count.toLocaleString("en")} in all)` : "")
        : "No question matches.";
      part("more").hidden = shown >= matches.length;
      part("all").hidden = part("more").hidden || matches.length > MAX_AT_ONCE;
      /* observed anew, so that it is noticed if the end of the rows is still in sight */
      scrolled.unobserve(part("more"));
      scrolled.observe(part("more"));
    }
    const scrolled = new IntersectionObserver((seen) => {
      if (seen.some((each) => each.isIntersecting) && shown < matches.length) show(PAGE_SIZE);
    });
    let timer;
    part("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 120); });
    section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    part("set").addEventListener("change", filter);
    part("order").addEventListener("change", filter);
    buttons.forEach((button) => button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      filter();
    }));
    part("more").addEventListener("click", () => show(PAGE_SIZE));
    part("all").addEventListener("click", () => show(matches.length));
    await filter();
    section.removeAttribute("aria-busy");
  }

  function questionRow(row, set, verdict, single) {
    const [id, question, answer, outputBefore, outputAfter, before, after] = row;
    const tr = make("tr", null, { role: "row", class: verdict || "" });
    const head = make("th", null, { role: "rowheader", scope: "row" });
    const tag = make("p", null, { class: "tag" });
    if (verdict && !(single && verdict === "unknown")) tag.append(make("span", VERDICTS[verdict], { class: `badge ${verdict}` }), " ");
    tag.append(`${set} · `, make("bdi", id, { class: "id" }));
    const reference = make("div", null, { class: "answer" });
    reference.append("Reference answer:", truncated([[0, answer]]));
    head.append(tag, truncated([[0, question]]), reference);
    tr.append(head);
    const both = before && after ? differences(outputBefore, outputAfter) : null;
    const appendOutput = (heading, scores, output, side) => {
      const cell = make("td", null, { role: "cell", "data-heading": heading });
      const segments = both ? both.filter(([of]) => of === 0 || of === side) : [[0, (output || "").trim()]];
      if (!scores) cell.append(make("span", "not yet", { class: "nothing" }));
      else if (!segments.some(([, text]) => text)) cell.append(make("span", "(nothing)", { class: "nothing" }));
      else cell.append(truncated(segments));
      tr.append(cell);
    };
    if (!single) appendOutput("Before", before, outputBefore, -1);
    appendOutput(single ? "Answer" : "After", after, outputAfter, 1);
    tr.append(scoresCell(before, after));
    return tr;
  }

  /* Segments of words: of both texts (0), only of the first (-1) or only of the second (1). The longest common run of
     words is found, then those before and after it; long texts are compared as a whole, for the time to compare word by
     word grows with the product of their lengths. */
  function differences(before, after) {
    const [one, two] = [before, after].map((text) => text.match(/\n|[^\s]+/g) || []), segments = [];
    const add = (side, words) => { if (words.length) segments.push([side, words.join(" ")]); };
    const compare = (start, end, from, to) => {
      let longest = 0, inOne = end, inTwo = to, above = new Uint16Array(to + 1);
      for (let i = start; i < end; i++) {
        const lengths = new Uint16Array(to + 1);
        for (let j = from; j < to; j++) {
          if (one[i] !== two[j]) continue;
          lengths[j + 1] = above[j] + 1;
          if (lengths[j + 1] > longest) [longest, inOne, inTwo] = [lengths[j + 1], i - above[j], j - above[j]];
        }
        above = lengths;
      }
      if (longest) compare(start, inOne, from, inTwo);
      else {
        add(-1, one.slice(start, end));
        add(1, two.slice(from, to));
        return;
      }
      add(0, one.slice(inOne, inOne + longest));
      compare(inOne + longest, end, inTwo + longest, to);
    };
    if (one.join(" ") === two.join(" ")) add(0, one);
    else if (Math.max(one.length, two.length) <= MAX_WORDS) compare(0, one.length, 0, two.length);
    else { add(-1, one); add(1, two); }
    return segments;
  }

  /* Segments as text; a long text is truncated, with a button that shows the rest. */
  function truncated(parts) {
    const container = make("div"), total = parts.reduce((sum, [, text]) => sum + text.length, 0);
    const fill = (limit) => {
      const bdi = make("bdi", null, { dir: "auto" });
      let remaining = limit;
      for (const [side, text] of parts) {
        if (remaining <= 0) break;
        if (bdi.hasChildNodes()) bdi.append(" ");
        bdi.append(make(side < 0 ? "del" : side > 0 ? "ins" : "span", text.length > remaining ? `${text.slice(0, remaining)}…` : text));
        remaining -= text.length;
      }
      return bdi;
    };
    container.append(fill(MAX_LENGTH));
    if (total > MAX_LENGTH) {
      const button = make("button", `Show all ${total.toLocaleString("en")} characters`, { type: "button", class: "cut" });
      button.addEventListener("click", () => { container.replaceChildren(fill(Infinity)); });
      container.append(button);
    }
    return container;
  }

  function scoresCell(before, after) {
    const cell = make("td", null, { role: "cell", "data-heading": "Scores" }), list = make("dl");
    const format = (values, index) => (values && values[index] !== null ? values[index].toFixed(2) : "–");
    data.metrics.forEach((name, index) => {
      const pair = make("div");
      const value = before && after ? `${format(before, index)} → ${format(after, index)}` : format(before || after, index);
      pair.append(make("dt", name), make("dd", value));
      list.append(pair);
    });
    cell.append(list);
    return cell;
  }

  /* ---- tabs ---- */
  const tabs = [...document.querySelectorAll("[role=tab]")];
  function select(index) {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = i !== index;
    });
    drawVisible();
  }
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => select(index));
    tab.addEventListener("keydown", (event) => {
      const move = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      const next = (move + tabs.length) % tabs.length;
      select(next);
      tabs[next].focus();
    });
  });

  document.querySelectorAll(".explorer").forEach(explore);
  if (tabs.length) select(0);
  else drawVisible();
  updateTheme();

  /* When printing, all runs are shown, in the light theme. */
  let screenState;
  addEventListener("beforeprint", () => {
    screenState = { theme: root.dataset.theme, tab: tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true") };
    root.dataset.theme = "light";
    document.querySelectorAll("[role=tabpanel]").forEach((panel) => { panel.hidden = false; });
    drawVisible();
    updateTheme();
    charts.forEach((chart) => chart.resize());
  });
  addEventListener("afterprint", () => {
    if (screenState.theme) root.dataset.theme = screenState.theme;
    else delete root.dataset.theme;
    if (tabs.length) select(screenState.tab);
    updateTheme();
  });
})();
