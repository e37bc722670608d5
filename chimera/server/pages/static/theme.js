// Before anything is drawn: light or dark as it was chosen last.
"use strict";
try {
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
} catch { /* no storage: as the system has it */ }
