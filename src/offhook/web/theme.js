// The theme before the first paint: what somebody chose, else the system's. `data-theme` on the root is always set.
// Other scripts choose by the event "theme-choice" (detail: "system", "light" or "dark") and redraw on "theme".
"use strict";
(() => {
  const KEY = "offhook.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let choice = "system";
  try {
    choice = localStorage.getItem(KEY) ?? "system";
  } catch {
    // storage is forbidden here: the system's theme it is
  }
  const apply = () => {
    const chosen = choice === "light" || choice === "dark";
    document.documentElement.dataset.themeChoice = chosen ? choice : "system";
    document.documentElement.dataset.theme = chosen ? choice : dark.matches ? "dark" : "light";
    window.dispatchEvent(new Event("theme"));
  };
  dark.addEventListener("change", apply);
  window.addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    choice = event.newValue ?? "system";
    apply();
  });
  window.addEventListener("theme-choice", (event) => {
    choice = event.detail;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // it holds until the page is left
    }
    apply();
  });
  apply();
})();
