// Parts of a page that renew themselves by htmx (hx-trigger="every ..."), without getting in anybody's way.
"use strict";

const isLive = (element) => (element.getAttribute("hx-trigger") || "").startsWith("every");

document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.detail.elt;
  // Nobody looks, or somebody works in it: its fields and the place of the keyboard stay as they are.
  if (isLive(part) && (document.hidden || part.contains(document.activeElement))) {
    event.preventDefault();
  }
});

let open = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  const part = event.detail.target;
  if (!isLive(part)) {
    return;
  }
  if (new URL(event.detail.xhr.responseURL || location.href).pathname !== location.pathname) {
    // The session is over: the whole page says so.
    event.preventDefault();
    location.reload();
    return;
  }
  open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
});

document.addEventListener("htmx:afterSwap", () => {
  for (const id of open) {
    document.getElementById(id)?.setAttribute("open", "");
  }
  open = [];
});
