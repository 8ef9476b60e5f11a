// What the page does besides charts: colours, sorting, and opening everything for print.
"use strict";

const remembered = {
  // A page that is shown within another may be denied a memory.
  get: () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } },
  set: (theme) => { try { localStorage.setItem("theme", theme); } catch { /* the choice holds for this visit */ } },
};

function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

const choice = document.querySelector("#theme");
choice.value = remembered.get();
paint(choice.value);
choice.addEventListener("change", () => {
  paint(choice.value);
  remembered.set(choice.value);
});

// Numbers begin with the largest, words with the first; lines without a value stay last either way.
function sort(heading) {
  const { tBodies: [body] } = heading.closest("table");
  const value = (line) => line.cells[heading.cellIndex].dataset.value;
  const known = [...body.rows].filter((line) => value(line) !== undefined);
  const rest = [...body.rows].filter((line) => value(line) === undefined);
  const numeric = known.every((line) => value(line).trim() !== "" && !isNaN(value(line)));
  const was = heading.getAttribute("aria-sort");
  const rising = was ? was === "descending" : !numeric;
  const compare = numeric ? (a, b) => value(a) - value(b) : (a, b) => value(a).localeCompare(value(b), "en");
  known.sort((a, b) => (rising ? compare(a, b) : compare(b, a)));
  body.append(...known, ...rest);
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
}

for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}

const closed = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("section > details:not([open])")) {
    part.open = true;
    closed.push(part);
  }
});
addEventListener("afterprint", () => closed.splice(0).forEach((part) => { part.open = false; }));
