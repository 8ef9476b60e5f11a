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

// What a cell is sorted by: the number that it begins with, in columns of numbers, or its words; nothing for a dash.
function value(line, {cellIndex, numeric}) {
  const text = line.cells[cellIndex].innerText.trim();
  if (!numeric) return text;
  const number = parseFloat(text.replace("−", "-").replaceAll(",", ""));
  return isNaN(number) ? undefined : number;
}

// Numbers begin with the largest, words with the first; lines without a value stay last either way.
function sort(heading) {
  const { tBodies: [body] } = heading.closest("table");
  const column = {cellIndex: heading.cellIndex, numeric: heading.style.textAlign === "right"};
  const known = [...body.rows].filter((line) => value(line, column) !== undefined);
  const rest = [...body.rows].filter((line) => value(line, column) === undefined);
  const was = heading.getAttribute("aria-sort");
  const rising = was ? was === "descending" : !column.numeric;
  const compare = column.numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en");
  known.sort((a, b) => (rising ? 1 : -1) * compare(value(a, column), value(b, column)));
  body.append(...known, ...rest);
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
}

for (const heading of document.querySelectorAll(".sortable thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.addEventListener("click", () => sort(heading));
  heading.append(button);
}

const closed = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("main details:not([open])")) {
    part.open = true;
    closed.push(part);
  }
});
addEventListener("afterprint", () => closed.splice(0).forEach((part) => { part.open = false; }));
