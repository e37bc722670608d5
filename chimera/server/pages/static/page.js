// What the pages do besides what their attributes say: keys, messages, and a queue that does not move under the pointer.
"use strict";

const $ = (query, within = document) => within.querySelector(query);
const csrf = $('meta[name="csrf"]')?.content ?? "";
let lastUndo = null;

document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRF"] = csrf; });

// --- messages -------------------------------------------------------------------------------------------------------

function toast(text, { bad = false, undo = null, until = null } = {}) {
  const line = document.createElement("div");
  line.className = bad ? "toast bad" : "toast";
  if (bad) line.setAttribute("role", "alert");
  const words = document.createElement("span");
  words.textContent = text;
  line.append(words);
  let left = bad ? 9000 : 5000;
  if (undo) {
    lastUndo = undo;
    left = until ? Math.max(0, new Date(until) - Date.now()) : 8000;
    const back = document.createElement("button");
    back.type = "button";
    back.textContent = "Undo";
    back.addEventListener("click", () => takeBack(undo));
    line.append(back);
  }
  $("#toasts").append(line);
  setTimeout(() => { line.remove(); if (lastUndo === undo) lastUndo = null; }, left);
}

function takeBack(undo) {
  lastUndo = null;
  for (const back of document.querySelectorAll(".toast button")) back.parentNode.remove();
  htmx.ajax("POST", "/reviews/undo", { values: undo, target: "#toasts", swap: "beforeend" });
}

// What an answer brings back is a <template> with words; it becomes a message, and the question leaves the page.
function told(found) {
  for (const one of found.querySelectorAll("template[data-toast]")) {
    const { item, undo, batch, until, gone, state } = one.dataset;
    const back = batch ? { batch } : undo ? { item: undo } : null;
    toast(one.innerHTML ? one.content.textContent : one.textContent, { undo: back, until });
    if (item && state !== "agreed") forget(item);
    for (const id of (gone ?? "").split(" ").filter(Boolean)) forget(id);
    one.remove();
  }
}

function forget(item) {
  const row = document.getElementById(`q-${item}`);
  if (row?.classList.contains("chosen")) choose(row.nextElementSibling ?? row.previousElementSibling, { open: false });
  row?.remove();
  const card = $(`#card [data-item="${CSS.escape(item)}"]`);
  if (card) card.replaceWith(empty("Decided. Choose the next one with j and k."));
  if ($("article.alone")?.dataset.item === item) setTimeout(() => location.assign("/reviews"), 900);
  counted();
}

function empty(text, tag = "p") {
  const line = document.createElement(tag);
  line.className = "empty";
  line.textContent = text;
  return line;
}

function counted() {
  const count = $("#count");
  if (count) count.textContent = document.querySelectorAll("#rows .item").length;
}

document.addEventListener("htmx:afterSwap", (event) => { told(event.detail.target.parentNode ?? document); told(document); });
document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = event.detail;
  if (xhr.status !== 401) toast(xhr.responseText || `The server answered ${xhr.status}.`, { bad: true });
  if (xhr.status === 409) refresh(true);
});
document.addEventListener("htmx:sendError", () => toast("The server cannot be reached. Nothing was changed.", { bad: true }));
document.addEventListener("htmx:sseError", () => document.body.classList.add("offline"));
document.addEventListener("htmx:sseOpen", () => document.body.classList.remove("offline"));

// A key can be faster than htmx, which looks at what has just come a moment later: then the form would leave the page.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.hasAttribute("hx-post")) return;
  event.preventDefault();
  const [post, to, swap] = ["hx-post", "hx-target", "hx-swap"].map((name) => form.getAttribute(name));
  const values = Object.fromEntries(new FormData(form, event.submitter));
  htmx.ajax("POST", post, { values, swap, target: to.startsWith("closest ") ? form.closest(to.slice(8)) : to });
});

// --- the queue ------------------------------------------------------------------------------------------------------

const rows = $("#rows");
const news = $("#new");

let asked = false;    // whoever asks sees everything now, also under the pointer
let fetching = false;

function refresh(now) {
  if (!rows) return;
  asked ||= now;
  if (news) news.hidden = true;
  htmx.trigger("#live", "refresh");
}

// The server says which questions there are, in which order, and a mark of each; rows are asked for where they are new.
// They do not move under a pointer: what is new is announced there, and shown when it is asked for.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt.id !== "live" || !event.detail.successful) return;
  const found = new Map(event.detail.xhr.responseText.split("\n").filter(Boolean).map((line) => line.split(" ")));
  for (const row of rows.querySelectorAll(".item")) if (!found.has(row.dataset.item)) row.remove();
  counted();
  const shown = [...rows.querySelectorAll(".item")];
  const listed = [...found];
  const same = shown.every((row, at) => row.dataset.item === listed[at]?.[0] && row.dataset.mark === listed[at][1]);
  const full = shown.length > 0.9 * Number($("#limit").value);
  if (!asked && same && (shown.length === listed.length || full)) {
    if (!listed.length && !$(".empty", rows)) rows.replaceChildren(empty("Nothing waits for a human.", "li"));
    return;
  }
  if (!asked && rows.matches(":hover")) { if (news) news.hidden = false; return; }
  asked = false;
  if (fetching) { fetching = "again"; return; }
  fetching = true;
  const query = new URLSearchParams(new FormData($("#filter")));
  query.set("limit", $("#limit").value);
  htmx.ajax("GET", `/reviews/list?${query}`, { source: rows, target: rows, swap: "innerHTML" }).finally(() => {
    const again = fetching === "again";
    fetching = false;
    if (again) refresh(false);
  });
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target !== rows) return;
  chosen()?.classList.add("chosen");
  counted();
});
news?.addEventListener("click", () => refresh(true));
$("#filter")?.addEventListener("change", (event) => event.currentTarget.submit());

let chosenId = null;
const chosen = () => chosenId && document.getElementById(chosenId);

function choose(row, { open = true } = {}) {
  chosen()?.classList.remove("chosen");
  chosenId = row?.classList.contains("item") ? row.id : null;
  if (!chosenId) return;
  row.classList.add("chosen");
  const link = $("a.open", row);
  link.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  if (open) link.click();
}

// One listener for all rows: thousands of them cost nothing when they come and go.
rows?.addEventListener("click", (event) => {
  const row = event.target.closest(".item");
  if (!row) return;
  if (event.target.closest("[data-approve]")) approve(row);
  else if (event.target.closest("[data-reject]")) { choose(row); focusReason(row.dataset.item); }
  else if (event.target.closest("a.open") && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    choose(row, { open: false });
    htmx.ajax("GET", `/reviews/${row.dataset.item}`, { target: "#card", swap: "innerHTML show:none" });
  }
});

function approve(row) {
  const values = { action: "approve", version: row.dataset.version };
  htmx.ajax("POST", `/reviews/${row.dataset.item}/decide`, { values, target: row, swap: "outerHTML" });
}

function focusReason(item) {
  const wait = (tries) => {
    const reason = $(`[data-item="${CSS.escape(item)}"] #reason`, $("#card") ?? document);
    if (reason) reason.focus();
    else if (tries) setTimeout(wait, 30, tries - 1);
  };
  wait(60);
}

function answer(action) {
  const form = $("form.answer");
  const item = form?.closest("[data-item]").dataset.item;
  const row = chosen();
  if (form && (!row || row.dataset.item === item)) $(`button[value="${action}"]`, form)?.click();
  else if (row && action === "approve") approve(row);
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-edit]")) return;
  const form = $("#edit");
  form.hidden = !form.hidden;
  if (!form.hidden) $("textarea, input:not([type=hidden])", form).focus();
});

// A task that is added to a plan takes the first number that no task has.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-add-task]")) return;
  const drawn = $("#new-task");
  let number = 1;
  while ($(`[data-task="t${number}"]`, drawn.parentNode)) number += 1;
  drawn.insertAdjacentHTML("beforebegin", drawn.innerHTML.replaceAll("TASK", `t${number}`));
  $(`[data-task="t${number}"] input`).focus();
});

const keys = {
  j: () => choose(chosen()?.nextElementSibling ?? $("#rows .item")),
  k: () => choose(chosen()?.previousElementSibling ?? $("#rows .item:last-child")),
  a: () => answer("approve"),
  r: () => { const reason = $("#reason"); if (reason?.value) answer("reject"); else if (reason) reason.focus(); else if (chosen()) { choose(chosen()); focusReason(chosen().dataset.item); } },
  e: () => $("[data-edit]")?.click(),
  c: () => $('button[name="to_do"][value="claim"]')?.click(),
  u: () => lastUndo && takeBack(lastUndo),
  n: () => refresh(true),
  "?": () => $("#help")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (typing && event.key === "Escape") { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (keys[event.key] && (rows || $("article.alone") || event.key === "?")) { event.preventDefault(); keys[event.key](); }
});
$("#keys")?.addEventListener("click", () => $("#help").showModal());

// --- light and dark -------------------------------------------------------------------------------------------------

$("#theme")?.addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme;
  const next = now === "dark" || (now === "auto" && dark) ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("theme", next); } catch { /* not kept */ }
});
