// The page: it asks, and shows what comes as text. Nothing that a model says becomes markup: text nodes only.
"use strict";

const SIDES = { before: "Before unlearning", after: "After unlearning" };
const GROUPS = { forget: "To be forgotten", retain: "To be kept", beyond: "Beyond both" };
const at = (id) => document.getElementById(id);

let run = null;      // what the server says of the run
let asking = null;   // stops the answer that is being written
let earlier = [];    // exchanges of this conversation
let began = null;    // the number of the preset that it began with

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function said(className, text) {
  const element = make("div", `said ${className}`, text);
  element.dir = "auto";
  return element;
}

function tell(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

function showPresets() {
  for (const [group, title] of Object.entries(GROUPS)) {
    const list = make("ul");
    run.presets.forEach((preset, number) => {
      if (preset.group !== group) return;
      const button = make("button", "", preset.question || preset.answer);
      button.type = "button";
      button.dir = "auto";
      button.addEventListener("click", () => { reset(); ask(null, number); });
      const item = make("li");
      item.append(button);
      list.append(item);
    });
    if (!list.children.length) continue;
    const details = make("details");
    details.open = group === "forget" && matchMedia("(min-width: 40rem)").matches;
    details.append(make("summary", "", title), list);
    at("presets").append(details);
  }
}

function forget() {
  earlier = [];
  began = null;
}

// A new conversation; what is being written for the old one is stopped.
function reset() {
  if (asking) asking.abort();
  asking = null;
  busy(false);
  forget();
  at("log").replaceChildren();
  tell("");
}

// One answer: its text, and on request what else might have come.
function panel(side) {
  const element = make("article", `side ${side}`), text = said("", ""), steps = [];
  element.setAttribute("aria-busy", "true");
  const details = make("details"), table = make("div", "table");
  details.hidden = true;
  const summary = make("summary", "", "Likely next tokens");
  table.tabIndex = 0;
  table.setAttribute("role", "region");
  table.setAttribute("aria-label", `Likely next tokens, ${SIDES[side]}`);
  details.append(summary, table);
  details.addEventListener("toggle", () => { if (details.open) table.replaceChildren(tokens(steps)); });
  element.append(make("h3", "", SIDES[side]), text, details);
  return {
    element,
    text: "",
    add(step) {
      steps.push(step);
      this.text += step.text;
      text.append(step.text);
      if (step.answer === undefined) return;
      if (this.text !== step.answer) text.textContent = this.text = step.answer;
      if (!this.text.trim()) text.append(make("span", "small", "(nothing)"));
    },
    end() {
      element.setAttribute("aria-busy", "false");
      if (!steps.length) return;
      const mean = steps.reduce((sum, step) => sum + step.entropy, 0) / steps.length;
      summary.textContent =
        `Likely next tokens: ${steps.length} ${steps.length === 1 ? "token" : "tokens"}, mean entropy ${mean.toFixed(2)} nats`;
      details.hidden = false;
      if (details.open) table.replaceChildren(tokens(steps));
    },
  };
}

function tokens(steps) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  for (const name of ["Said", "Entropy (nats)", "Likeliest, with probability"]) {
    const cell = make("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  for (const step of steps) {
    const row = make("tr"), chosen = make("td"), likely = make("td");
    chosen.append(token(step.chosen));
    for (const choice of step.likely) likely.append(token(choice), " ");
    row.append(chosen, make("td", "number", step.entropy.toFixed(3)), likely);
    body.append(row);
  }
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  return table;
}

function token([text, probability]) {
  const element = make("span", "choice"), shown = make("bdi", "token", visible(text));
  element.append(shown, ` ${(100 * probability).toFixed(1)}%`);
  return element;
}

// A token alone, with its blanks to be seen.
function visible(text) {
  return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";
}

function showQuestion(question, number) {
  const section = make("section");
  if (number !== null) {
    for (const turn of run.presets[number].earlier) section.append(said("right", `${turn.role}: ${turn.content}`));
  }
  section.append(said("asked", question || "(the beginning of a passage)"));
  if (number !== null && run.presets[number].answer) {
    section.append(said("right", `Right answer: ${run.presets[number].answer}`));
  }
  const pair = make("div", "pair"), panels = { before: panel("before"), after: panel("after") };
  pair.append(panels.before.element, panels.after.element);
  section.append(pair);
  at("log").append(section);
  section.scrollIntoView({ block: "start" });
  return panels;
}

async function* lines(response) {
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (waiting + decoder.decode(value, { stream: true })).split("\n");
    waiting = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

async function post(body, signal) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch("ask", { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response;
}

// Ask `question`, or the preset of this number, which begins a conversation.
async function ask(question, number = null) {
  if (!at("form").reportValidity()) return;
  const stop = asking = new AbortController();
  const shown = question === null ? run.presets[number].question : question;
  if (!run.keeps_turns) forget();
  if (number !== null) began = number;
  const body = { preset: began, question, earlier };
  for (const name of ["max_new_tokens", "temperature", "seed"]) body[name] = at(name).valueAsNumber;
  const panels = showQuestion(shown, number);
  busy(true);
  tell("Both models answer …");
  const [text, bad] = await read(body, panels, stop.signal);
  panels.before.end();
  panels.after.end();
  if (asking !== stop) return;  // another conversation has begun
  tell(text, bad);
  asking = null;
  busy(false);
  if (number !== null && run.presets[number].passage) forget();  // which is no turn of a conversation
  else earlier = [...earlier, { question: shown, before: panels.before.text, after: panels.after.text }];
}

// Show the answers as they come; what became of them, and whether that is bad.
async function read(body, panels, signal) {
  let ended = 0;
  try {
    for await (const line of lines(await post(body, signal))) {
      if (line.error) return [line.error, true];
      panels[line.side].add(line);
      if (line.answer !== undefined) { ended += 1; panels[line.side].end(); }
    }
  } catch (error) {
    if (error.name === "AbortError") return ["Stopped.", false];
    return [error instanceof TypeError ? "The server does not answer any more." : error.message, true];
  }
  return ended === 2 ? ["Both answers are whole.", false] : ["The answers were cut short.", true];
}

function busy(is) {
  at("ask").disabled = is;
  at("stop").disabled = !is;
}

async function start() {
  const response = await fetch("run");
  run = await response.json();
  at("facts").textContent = run.facts;
  at("max_new_tokens").max = run.most_new_tokens;
  for (const name of ["max_new_tokens", "temperature", "seed"]) at(name).value = run[name];
  showPresets();
  if (!run.keeps_turns) tell("This run's text format has no place for earlier turns: every question stands alone.");
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = at("question").value;
  if (!run || asking || !question.trim()) return;
  at("question").value = "";
  ask(question);
});
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("form").requestSubmit();
  }
});
at("stop").addEventListener("click", () => { if (asking) asking.abort(); });
at("reset").addEventListener("click", () => { reset(); at("question").focus(); });
start().catch(() => tell("The server does not answer.", true));
