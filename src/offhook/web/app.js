/** The console's one page: its frame, its routes under /console/, and the phone that lives on beside them. */

import { alive, connection, get, post } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { mountPhone } from "./phone/dock.js";
import { title } from "./title.js";

/**
 * @typedef {{pattern: RegExp, title: string, name: string, mount: (page: HTMLElement, signal: AbortSignal, match: RegExpExecArray) => Promise<any>}} Route
 * @type {Route[]}
 */
const ROUTES = [
  {
    pattern: /^\/console\/(calls\/?)?$/,
    title: "Calls",
    name: "calls",
    mount: async (page, signal) => unlessLeft(signal, await import("./calls.js"))?.(page, signal),
  },
  {
    pattern: /^\/console\/calls\/([^/]+)$/,
    title: "Call",
    name: "call",
    mount: async (page, signal, match) =>
      unlessLeft(signal, await import("./inspector/inspector.js"))?.(page, decodeURIComponent(match[1]), signal),
  },
  {
    pattern: /^\/console\/phone\/?$/,
    title: "Phone",
    name: "phone",
    mount: async (page, signal) => unlessLeft(signal, await import("./phone/page.js"))?.(page),
  },
  {
    pattern: /^\/console\/setup\/?$/,
    title: "Setup",
    name: "setup",
    mount: async (page, signal) => unlessLeft(signal, await import("./setup.js"))?.(page, signal),
  },
  {
    pattern: /^\/console\/login\/?$/,
    title: "Log in",
    name: "login",
    mount: async (page, signal) => unlessLeft(signal, await import("./login.js"))?.(page, signal),
  },
];

/** What a module shows; nothing when its page was left while the module came. @param {AbortSignal} signal @param {any} module */
function unlessLeft(signal, module) {
  return signal.aborted ? null : module.default;
}

const NAVIGATION = [
  { name: "calls", href: "/console/", label: "Calls", icon: "calls" },
  { name: "phone", href: "/console/phone", label: "Phone", icon: "phone" },
  { name: "setup", href: "/console/setup", label: "Setup", icon: "setup" },
];
const THEMES = /** @type {const} */ (["system", "light", "dark"]);
const LOST_AGAIN_MS = 2000;

const [page, nav, banner, end, dock] = ["page", "nav", "banner", "top-end", "dock"].map(
  (id) => /** @type {HTMLElement} */ (document.getElementById(id)),
);
let leave = new AbortController();
let failed = false;

/**
 * Show the page of an address. Without `quiet` the reader's focus goes to its heading, as after a page load.
 *
 * @param {string} path
 * @param {{replace?: boolean, quiet?: boolean}} [how]
 */
export function navigate(path, { replace = false, quiet = false } = {}) {
  rememberPlace();
  if (path !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", path);
  return show(quiet);
}

/** Who comes back to a page finds it where it was. */
function rememberPlace() {
  history.replaceState({ ...history.state, top: scrollY }, "");
}

/**
 * @param {boolean} quiet
 * @param {number} [top] where the page is scrolled to
 */
async function show(quiet, top = 0) {
  leave.abort();
  failed = false;
  leave = new AbortController();
  const { signal } = leave;
  let match = null;
  const route = ROUTES.find(({ pattern }) => (match = pattern.exec(location.pathname)));
  document.body.dataset.route = route?.name ?? "";
  title({ page: route?.title ?? "Not found" });
  for (const link of nav.querySelectorAll("a")) {
    if (link.dataset.name === route?.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  fill(page);
  try {
    if (route && match) await route.mount(page, signal, match);
    else notFound();
  } catch (error) {
    if (signal.aborted) return;
    console.error(error);
    failed = true;
    fill(page, failure(error));
  }
  if (signal.aborted) return;
  const heading = page.querySelector("h1");
  if (heading && route?.name === "call") title({ page: [...heading.childNodes].map(said).join(" ") });
  if (!quiet) focusOn(heading);
  if (!quiet || top) scrollTo(0, top);
}

/** @param {Node} node what a screen reader says of it */
const said = (node) => (node instanceof Element && node.ariaLabel) || node.textContent;

/** On a narrow screen the page of the phone is the phone. @param {HTMLElement | null} heading */
function focusOn(heading) {
  for (const one of [heading, page, dock.querySelector("h2")]) {
    /** @type {HTMLElement | null} */ (one)?.focus({ preventScroll: true });
    if (one && one === document.activeElement) return;
  }
}

function notFound() {
  fill(
    page,
    h("div", { class: "empty" }, h("h1", { tabindex: "-1", text: "There is no such page" }),
      h("p", {}, "The console has ", h("a", { href: "/console/", text: "calls" }), ".")),
  );
}

/** @param {any} error */
function failure(error) {
  const retry = h("button", { type: "button", class: "button", text: "Try again", on: { click: () => show(false) } });
  return h("div", { class: "empty" }, icon("warning", 28), h("h1", { tabindex: "-1", text: "This page could not be shown" }),
    h("p", { text: String(error?.message ?? error) }), retry);
}

function frame() {
  fill(nav, NAVIGATION.map((item) =>
    h("a", { href: item.href, data: { name: item.name } }, icon(/** @type {any} */ (item.icon)), h("span", { text: item.label }))));
  end.append(themeSwitch());
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const url = new URL(link.href, location.href);
    if (url.hash && url.href.startsWith(`${location.href.split("#")[0]}#`)) {
      event.preventDefault(); // a place of this page, which must not be made anew for it
      document.getElementById(url.hash.slice(1))?.focus();
      return;
    }
    if (url.origin !== location.origin || !url.pathname.startsWith("/console/") || url.pathname.startsWith("/console/api/")) return;
    if (url.hash || link.target || link.hasAttribute("download")) return;
    event.preventDefault();
    navigate(url.pathname + url.search);
  });
  history.scrollRestoration = "manual"; // there is nothing to be scrolled yet when the browser would
  addEventListener("popstate", ({ state }) => show(false, state?.top));
  addEventListener("pagehide", rememberPlace);
}

/** One button through system, light and dark. */
function themeSwitch() {
  const button = h("button", { type: "button", class: "button quiet square" });
  const draw = () => {
    const choice = /** @type {typeof THEMES[number]} */ (document.documentElement.dataset.themeChoice ?? "system");
    fill(button, icon(choice));
    const label = `Theme: ${choice}`;
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    const now = THEMES.indexOf(/** @type {any} */ (document.documentElement.dataset.themeChoice));
    dispatchEvent(new CustomEvent("theme-choice", { detail: THEMES[(now + 1) % THEMES.length] }));
  });
  addEventListener("theme", draw);
  draw();
  return button;
}

/** Says that the node is away, and asks until it is back; then a page that could not be shown is tried again. */
function watchConnection() {
  let timer = 0;
  connection.addEventListener("change", () => {
    clearTimeout(timer);
    banner.hidden = connection.up;
    if (connection.up) {
      fill(banner);
      if (failed) show(true);
      return;
    }
    fill(banner, icon("warning", 16), h("span", { text: "The node does not answer. Trying again…" }));
    const again = async () => {
      if (!(await alive())) timer = setTimeout(again, LOST_AGAIN_MS);
    };
    timer = setTimeout(again, LOST_AGAIN_MS);
  });
}

/** Who is not logged in goes to the login page, and comes back afterwards. */
function watchLogin() {
  connection.addEventListener("login", () => {
    if (location.pathname.startsWith("/console/login")) return;
    const here = location.pathname + location.search;
    navigate(`/console/login?next=${encodeURIComponent(here)}`, { replace: true });
  });
}

/** The phone and what else only somebody sees who is logged in. */
async function furnish() {
  let setup;
  try {
    setup = await get("setup");
  } catch (error) {
    if (/** @type {any} */ (error)?.status !== 401) setTimeout(furnish, LOST_AGAIN_MS);
    return;
  }
  if (setup.archive) {
    // A call of a file: there is no node to be set up, nor to be called from.
    for (const link of nav.querySelectorAll('a:not([href="/console/"])')) link.remove();
    return;
  }
  if (setup.login) end.append(logout());
  mountPhone({ dock, top: end, offered: Boolean(setup.webrtc), navigate });
}

function logout() {
  const leave = async () => {
    await post("logout");
    location.assign("/console/login");
  };
  return h("button", { type: "button", class: "button quiet", text: "Log out", on: { click: leave } });
}

frame();
watchConnection();
watchLogin();
show(true, history.state?.top);
if (!location.pathname.startsWith("/console/login")) furnish();
