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

function empty(text) {
  const line = document.createElement("p");
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

// --- the queue ------------------------------------------------------------------------------------------------------

const rows = $("#rows");
const news = $("#new");

function refresh(now) {
  if (!rows) return;
  if (news) news.hidden = true;
  if (now) rows.dataset.now = "1";
  htmx.trigger("#live", "refresh");
}

// Rows do not move under a pointer or a finger: what is new is announced there, and shown when it is asked for.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target !== rows) return;
  const asked = rows.dataset.now === "1";
  delete rows.dataset.now;
  const found = [...event.detail.xhr.responseText.matchAll(/id="(q-[0-9a-f-]+)"[^>]*data-mark="(\w+)"/g)];
  const shown = [...rows.querySelectorAll(".item")];
  const same = found.length === shown.length && found.every(([, id, mark], at) => id === shown[at].id && mark === shown[at].dataset.mark);
  if (same && found.length) { event.detail.shouldSwap = false; return; }
  if (!asked && rows.matches(":hover")) {
    const ids = new Set(found.map(([, id]) => id));
    for (const row of shown) if (!ids.delete(row.id)) row.remove();
    counted();
    if (ids.size && news) news.hidden = false;
    event.detail.shouldSwap = false;
  }
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target !== rows) return;
  const row = chosenId && document.getElementById(chosenId);
  if (row) row.classList.add("chosen");
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
  if (!form.hidden) $("textarea", form).focus();
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
