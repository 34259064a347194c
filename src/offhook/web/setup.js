/** What an app needs to use this node, with everything to copy and to test. */

import { ApiError, get, post } from "./api.js";
import { copyButton, fill, h, icon } from "./dom.js";
import { nodeOption } from "./node_option.js";
import { kept } from "./phone/memory.js";
import { shells } from "./shells.js";
import { snippets } from "./snippets.js";
import { tabs } from "./tabs.js";

const WEBHOOK = /** @type {Record<string, [string, string]>} */ ({
  validated: ["good", "Validated"],
  waiting: ["warn", "Waiting for the app"],
  refused: ["bad", "Refused"],
});

/**
 * @param {HTMLElement} page
 * @param {AbortSignal} signal
 */
export default async function mount(page, signal) {
  fill(page, h("div", { class: "page-head" }, h("h1", { tabindex: "-1", text: "Setup" })), h("div", { class: "skeleton" }, h("div", { class: "bone" }), h("div", { class: "bone" }), h("div", { class: "bone" })));
  const setup = await get("setup", signal);
  const secret = new Secret(setup.connectionString);
  fill(page,
    h("div", { class: "page-head" }, h("h1", { tabindex: "-1", text: "Setup" }), h("p", { class: "count", text: "Point an app at this node, and see that it is reached" })),
    h("div", { class: "setup" }, connection(setup, secret), webhooks(setup, signal), environment(setup, secret), code(setup, secret), phones(setup), user()));
}

/**
 * @param {string} title
 * @param {string} says
 * @param {...any} children
 */
function section(title, says, ...children) {
  return h("section", { class: "panel block" }, h("h2", { text: title }), says ? h("p", { class: "faint", text: says }) : null, ...children);
}

/** Texts that hold the access key: it is shown once somebody asks for it; copies always have it. */
class Secret {
  /** @param {string} connection the connection string */
  constructor(connection) {
    this.key = /accesskey=(.+)$/i.exec(connection)?.[1] ?? "";
    this.open = false;
    /** @type {[HTMLElement, string][]} */
    this.texts = [];
    this.button = h("button", { type: "button", class: "button small", on: { click: () => this.set(!this.open) } });
    this.set(false);
  }

  /**
   * @param {HTMLElement} element
   * @param {string} text
   */
  shown(element, text) {
    this.texts.push([element, text]);
    this.draw(element, text);
    return element;
  }

  /** @param {boolean} open */
  set(open) {
    this.open = open;
    this.button.textContent = open ? "Hide" : "Show";
    this.button.setAttribute("aria-label", open ? "Hide the access key" : "Show the access key");
    for (const [element, text] of this.texts) this.draw(element, text);
  }

  /**
   * @param {HTMLElement} element
   * @param {string} text
   */
  draw(element, text) {
    element.textContent = this.open || !this.key ? text : text.replaceAll(this.key, "••••••••");
  }
}

/**
 * A value in one line, with its copy button.
 *
 * @param {string} name
 * @param {string} value
 * @param {Secret} [secret]
 */
function value(name, value, secret) {
  const shown = secret ? secret.shown(h("code", { class: "clip" }), value) : h("code", { class: "clip", title: value, text: value });
  return h("div", { class: "value" }, h("span", { class: "value-name", text: name }), shown, secret?.button, copyButton(() => value, `Copy the ${name.toLowerCase()}`));
}

/**
 * @param {any} setup
 * @param {Secret} secret
 */
function connection(setup, secret) {
  return section("Connection string", "What CallAutomationClient takes, in any language.",
    value("Connection string", setup.connectionString, secret),
    value("Endpoint", setup.endpoint),
    setup.resourceId ? value("Resource id", setup.resourceId) : null);
}

/**
 * @param {any} setup
 * @param {AbortSignal} signal
 */
function webhooks(setup, signal) {
  const found = h("div", { class: "findings", role: "status" });
  const field = /** @type {HTMLInputElement} */ (h("input", { type: "text", id: "test-url", inputmode: "url", autocomplete: "off", spellcheck: "false", placeholder: "http://localhost:8000/api/incomingCall" }));
  const other = h("form", { class: "test" }, h("label", { for: "test-url", text: "Test another address: an event route (http), or a stream route (ws)" }),
    h("div", { class: "field" }, field, h("button", { type: "submit", class: "button", text: "Test" })));
  other.addEventListener("submit", (event) => {
    event.preventDefault();
    check(found, field.value.trim() || field.placeholder, signal);
  });
  const everything = h("button", { type: "button", class: "button", on: { click: () => check(found, null, signal) } }, icon("check", 16), "Test everything");
  const rows = (setup.incoming ?? []).map((/** @type {any} */ hook) => webhook(hook, () => check(found, hook.url, signal)));
  const none = h("div", { class: "note" }, h("p", { text: "No app is told of incoming calls yet. Start the node with your app's event route:" }),
    h("pre", { class: "command", tabindex: "0", text: "offhook dev --incoming http://localhost:8000/api/incomingCall" }),
    setup.login && h("p", { text: "In the file of offhook serve:" }),
    setup.login && h("pre", { class: "command", tabindex: "0", text: '[[webhook]]\nurl = "https://app.example.com/api/incomingCall"' }));
  return section("Webhooks", "Where this node tells of incoming calls.", rows.length ? h("ul", { class: "hooks" }, rows) : none, other, h("div", { class: "row" }, everything), found);
}

/**
 * @param {{url: string, state: string, reason: string}} hook
 * @param {() => void} test
 */
function webhook({ url, state, reason }, test) {
  const [look, word] = WEBHOOK[state] ?? ["", state];
  return h("li", {}, h("div", { class: "hook" }, h("code", { class: "clip", title: url, text: url }), h("span", { class: `tag ${look}`, text: word }),
    h("button", { type: "button", class: "button small", "aria-label": `Test ${url}`, text: "Test", on: { click: test } })),
  reason && state !== "validated" ? h("p", { class: "faint", text: reason }) : null);
}

/**
 * The doctor's checks, each with its fix.
 *
 * @param {HTMLElement} found
 * @param {string | null} url
 * @param {AbortSignal} signal
 */
async function check(found, url, signal) {
  found.setAttribute("aria-busy", "true");
  fill(found, h("p", { class: "faint", text: url ? `Testing ${url} …` : "Testing …" }));
  try {
    const checks = await post("setup/check", { url }, signal);
    fill(found, checks.length ? h("ul", {}, checks.map(finding)) : h("p", { text: "There is nothing to test." }));
  } catch (error) {
    if (!(error instanceof ApiError)) return;
    fill(found, h("p", { class: "note bad", text: error.message }));
  } finally {
    found.removeAttribute("aria-busy");
  }
}

/** @param {{name: string, ok: boolean | null, detail: string, fix: string}} row */
function finding({ name, ok, detail, fix }) {
  const [look, picture, word] = ok === null ? ["", "pause", "skipped"] : ok ? ["good", "check", "passed"] : ["poor", "cross", "failed"];
  return h("li", { class: `finding ${look}` }, icon(/** @type {any} */ (picture), 16),
    h("div", {}, h("p", {}, h("strong", { text: name }), h("span", { class: "hidden", text: ` ${word}: ` }), h("span", { text: ` ${detail}` })),
      fix ? h("p", { class: "fix" }, h("strong", { text: "Fix: " }), fix) : null));
}

/**
 * @param {any} setup
 * @param {Secret} secret
 */
function environment(setup, secret) {
  const panels = shells(setup.environment ?? {}).map(({ name, text }) => ({ name, panel: () => block(text, `Copy all lines for ${name}`, secret) }));
  return section("Environment", "The lines that offhook exec sets for your app. Set them yourself where you start it in another way.", tabs("Shell", panels, "shell"));
}

/**
 * @param {any} setup
 * @param {Secret} secret
 */
function code(setup, secret) {
  const panels = snippets(setup.connectionString, setup.environment ?? {}, nodeOption(setup)).map(({ name, install, code: text, trust }) => ({
    name,
    panel: () => h("div", { class: "snippet" }, block(install, "Copy the line that installs the SDK"), block(text, `Copy the ${name} app`, secret), h("p", { class: "faint", text: trust })),
  }));
  return section("An app that answers", "On the official SDKs; it answers each call and has its sound streamed to it.", tabs("Language", panels, "language"));
}

/**
 * @param {string} text
 * @param {string} label
 * @param {Secret} [secret]
 */
function block(text, label, secret) {
  const shown = h("pre", { tabindex: "0", role: "region", "aria-label": label.replace(/^Copy /, ""), text });
  if (secret) secret.shown(shown, text);
  return h("div", { class: "codeblock" }, shown, copyButton(() => text, label));
}

/** @param {any} setup */
function phones(setup) {
  if (!setup.sip) {
    return section("SIP phones", "", h("p", { class: "faint" }, "Off. Start the node with ", h("code", { text: "--sip-port 5060" }), " to connect a softphone of your machine; ", h("code", { text: "offhook serve" }), " with a ", h("code", { text: "[sip]" }), " section in its file."));
  }
  const rows = Object.entries(setup.sip).filter(([, one]) => one !== null && typeof one !== "object");
  return section("SIP phones", "Register a softphone with these, or call without registering.",
    h("dl", { class: "facts" }, rows.flatMap(([name, one]) => [h("dt", { text: name }), h("dd", {}, h("code", { class: "clip", title: String(one), text: String(one) }))])));
}

/** Under which identity this browser is called. */
function user() {
  const mine = kept("identity");
  if (!mine) return null;
  const line = `client.create_call(CommunicationUserIdentifier("${mine}"), "http://localhost:8000/api/callbacks")`;
  return section("This browser as a phone", "It is a user of its own, whom apps can call and add to calls.", value("User id", mine), block(line, "Copy the line that calls this browser"));
}
