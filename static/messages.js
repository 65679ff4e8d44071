// The list of messages: what is chosen survives when the list renews itself, and is counted.
"use strict";

const boxes = () => [...document.querySelectorAll('#results input[name="id"]')];
const everything = document.getElementById("check-all");
const onPage = document.getElementById("check-page");
const chosen = document.getElementById("chosen");

const tell = () => {
  if (!onPage) {
    return;
  }
  const all = boxes();
  const count = all.filter((box) => box.checked).length;
  onPage.checked = count > 0 && count === all.length;
  onPage.indeterminate = count > 0 && count < all.length;
  chosen.hidden = count === 0 || everything.checked;
  chosen.textContent = `${count} chosen`;
};

if (onPage) {
  document.getElementById("page-check").hidden = false;
  onPage.addEventListener("change", () => {
    for (const box of boxes()) {
      box.checked = onPage.checked;
    }
    tell();
  });
  document.addEventListener("change", tell);
  tell();
}

let kept = new Set();
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id === "results") {
    kept = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  }
});
document.addEventListener("htmx:afterSwap", () => {
  for (const box of boxes()) {
    box.checked = box.checked || kept.has(box.value);
  }
  tell();
});
