// Sends questions and shows the answers. Model output never becomes markup: only text nodes are created.
"use strict";

const SIDES = { before: "Before unlearning", after: "After unlearning" };
const GROUPS = { forget: "Forget set", retain: "Retain set", general: "General knowledge" };
const byId = (id) => document.getElementById(id);

let run = null;         // facts about the run and the suggested questions, from the server
let inProgress = null;  // AbortController of the answer in progress
let conversation = [];  // earlier exchanges
let suggestion = null;  // index of the suggested question that the conversation started with

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function message(className, text) {
  const element = make("div", `message ${className}`, text);
  element.dir = "auto";
  return element;
}

function setStatus(text, failed = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("failed", failed);
}

function showSuggestions() {
  for (const [group, title] of Object.entries(GROUPS)) {
    const list = make("ul");
    run.suggestions.forEach((each, index) => {
      if (each.group !== group) return;
      const button = make("button", "", each.question || each.answer);
      button.type = "button";
      button.dir = "auto";
      button.addEventListener("click", () => { reset(); ask(null, index); });
      const item = make("li");
      item.append(button);
      list.append(item);
    });
    if (!list.children.length) continue;
    const details = make("details");
    details.open = group === "forget" && matchMedia("(min-width: 40rem)").matches;
    details.append(make("summary", "", title), list);
    byId("suggestions").append(details);
  }
}

function clearConversation() {
  conversation = [];
  suggestion = null;
}

// Starts a new conversation and stops the answer in progress.
function reset() {
  if (inProgress) inProgress.abort();
  inProgress = null;
  setBusy(false);
  clearConversation();
  byId("log").replaceChildren();
  setStatus("");
}

// The answer of one model, with a table of the likely alternatives of each token.
function panel(side) {
  const element = make("article", `side ${side}`), output = message("", ""), steps = [];
  element.setAttribute("aria-busy", "true");
  const details = make("details"), table = make("div", "table");
  details.hidden = true;
  const summary = make("summary", "", "Likely next tokens");
  table.tabIndex = 0;
  table.setAttribute("role", "region");
  table.setAttribute("aria-label", `Likely next tokens, ${SIDES[side]}`);
  details.append(summary, table);
  details.addEventListener("toggle", () => { if (details.open) table.replaceChildren(tokenTable(steps)); });
  element.append(make("h3", "", SIDES[side]), output, details);
  return {
    element,
    text: "",
    add(step) {
      steps.push(step);
      this.text += step.text;
      output.append(step.text);
      if (step.answer === undefined) return;
      if (this.text !== step.answer) output.textContent = this.text = step.answer;
      if (!this.text.trim()) output.append(make("span", "small", "(nothing)"));
    },
    end() {
      element.setAttribute("aria-busy", "false");
      if (!steps.length) return;
      const mean = steps.reduce((sum, step) => sum + step.entropy, 0) / steps.length;
      summary.textContent =
        `Likely next tokens: ${steps.length} ${steps.length === 1 ? "token" : "tokens"}, mean entropy ${mean.toFixed(2)} nats`;
      details.hidden = false;
      if (details.open) table.replaceChildren(tokenTable(steps));
    },
  };
}

function tokenTable(steps) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  for (const name of ["Generated", "Entropy (nats)", "Most likely, with probability"]) {
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
  const element = make("span", "choice"), shown = make("bdi", "token", visibleSpace(text));
  element.append(shown, ` ${(100 * probability).toFixed(1)}%`);
  return element;
}

// A token with visible white space.
function visibleSpace(text) {
  return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";
}

function showQuestion(question, index) {
  const section = make("section");
  const suggested = index === null ? null : run.suggestions[index];
  for (const turn of suggested ? suggested.history : []) section.append(message("context", `${turn.role}: ${turn.content}`));
  section.append(message("question", question || "(the beginning of a passage)"));
  if (suggested && suggested.answer) section.append(message("context", `Reference answer: ${suggested.answer}`));
  const pair = make("div", "pair"), panels = { before: panel("before"), after: panel("after") };
  pair.append(panels.before.element, panels.after.element);
  section.append(pair);
  byId("log").append(section);
  document.documentElement.style.scrollPaddingBottom = `${byId("form").offsetHeight}px`;  // it covers what is below
  section.scrollIntoView({ block: "start" });
  return panels;
}

async function* lines(response) {
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (buffer + decoder.decode(value, { stream: true })).split("\n");
    buffer = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

async function post(body, signal) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch("answer", { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response;
}

// Asks `question`, or starts a conversation with the suggested question of this index.
async function ask(question, index = null) {
  if (!byId("form").reportValidity()) return;
  const controller = inProgress = new AbortController();
  const shown = question === null ? run.suggestions[index].question : question;
  if (!run.multi_turn) clearConversation();
  if (index !== null) suggestion = index;
  const body = { suggestion, question, history: conversation };
  for (const name of ["max_new_tokens", "temperature", "seed"]) body[name] = byId(name).valueAsNumber;
  for (const each of byId("suggestions").children) each.open = false;  // the answer needs the space
  const panels = showQuestion(shown, index);
  setBusy(true);
  setStatus("Both models are answering …");
  const [text, failed] = await streamAnswers(body, panels, controller.signal);
  panels.before.end();
  panels.after.end();
  if (inProgress !== controller) return;  // another conversation has started
  setStatus(text, failed);
  inProgress = null;
  setBusy(false);
  if (index !== null && run.suggestions[index].passage) clearConversation();  // a passage is not a turn
  else conversation = [...conversation, { question: shown, before: panels.before.text, after: panels.after.text }];
}

// Shows the answers while they are generated. Returns the final status and whether it is a failure.
async function streamAnswers(body, panels, signal) {
  let complete = 0;
  try {
    for await (const line of lines(await post(body, signal))) {
      if (line.error) return [line.error, true];
      panels[line.side].add(line);
      if (line.answer === undefined) continue;
      complete += 1;
      panels[line.side].end();
      panels[line.side].element.scrollIntoView({ block: "nearest" });
    }
  } catch (error) {
    if (error.name === "AbortError") return ["Stopped.", false];
    return [error instanceof TypeError ? "The server no longer responds." : error.message, true];
  }
  return complete === 2 ? ["Both answers are complete.", false] : ["The answers are incomplete.", true];
}

function setBusy(busy) {
  byId("ask").disabled = busy;
  byId("stop").disabled = !busy;
}

async function start() {
  const response = await fetch("run");
  run = await response.json();
  byId("facts").textContent = run.facts;
  byId("max_new_tokens").max = run.max_new_tokens_limit;
  for (const name of ["max_new_tokens", "temperature", "seed"]) byId(name).value = run[name];
  showSuggestions();
  if (!run.multi_turn) setStatus("The text format of this run is single-turn: every question is asked alone.");
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = byId("question").value;
  if (!run || inProgress || !question.trim()) return;
  byId("question").value = "";
  ask(question);
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("form").requestSubmit();
  }
});
byId("stop").addEventListener("click", () => { if (inProgress) inProgress.abort(); });
byId("reset").addEventListener("click", () => { reset(); byId("question").focus(); });
start().catch(() => setStatus("The server does not respond.", true));
