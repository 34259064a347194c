/**
 * Elements from data. Text from outside reaches the page by `textContent` and attributes only, so that a name that
 * holds markup stays a name.
 */

const SVG = "http://www.w3.org/2000/svg";

/** Line icons, drawn in a 24 by 24 box with the colour of the text. */
const ICONS = {
  phone: "M5 4h4l1.5 5-2.3 1.6a12 12 0 0 0 5.2 5.2L15 13.5l5 1.5v4a1.5 1.5 0 0 1-1.5 1.5A15.5 15.5 0 0 1 3.5 5.5 1.5 1.5 0 0 1 5 4z",
  hangup: "M3 14.5c5-5.3 13-5.3 18 0l-2.6 2.7-3.2-1.9v-2.4a10 10 0 0 0-6.4 0v2.4l-3.2 1.9z",
  calls: "M4 6h16M4 12h16M4 18h10",
  setup: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  incoming: "M18 6 7 17M7 9v8h8",
  outgoing: "M6 18 17 7M9 7h8v8",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.3 15.3 20 20",
  copy: "M9 9h10v11H9zM6 15H5V4h10v2",
  check: "M5 12.5 10 17.5 19 7",
  cross: "M6 6l12 12M18 6 6 18",
  warning: "M12 4 21 20H3zM12 10v4.5M12 17.2v.3",
  microphone: "M12 3.5a3 3 0 0 1 3 3V11a3 3 0 0 1-6 0V6.5a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v3.5",
  muted: "M9 9v2a3 3 0 0 0 4.6 2.5M15 10.5v-4a3 3 0 0 0-5.6-1.5M6 11a6 6 0 0 0 9.5 4.9M18 11a6 6 0 0 1-.4 2.2M12 17v3.5M4 4l16 16",
  pause: "M9 5.5v13M15 5.5v13",
  play: "M8 5.5v13l10.5-6.5z",
  keypad: "M6 5.5h.1M12 5.5h.1M18 5.5h.1M6 11.5h.1M12 11.5h.1M18 11.5h.1M6 17.5h.1M12 17.5h.1M18 17.5h.1",
  speaker: "M4 9.5h3.5L12 5.5v13l-4.5-4H4zM15.5 9a4.5 4.5 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  settings: "M12 9.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6zM12 3.5v3M12 17.5v3M3.5 12h3M17.5 12h3M6 6l2.1 2.1M15.9 15.9 18 18M18 6l-2.1 2.1M8.1 15.9 6 18",
  down: "M6 9.5l6 6 6-6",
  right: "M9.5 6l6 6-6 6",
  left: "M14.5 6l-6 6 6 6",
  backspace: "M9 5.5h11v13H9L3.5 12zM12 9.5l5 5M17 9.5l-5 5",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1-1",
  light: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  dark: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  again: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9M20 4v5h-5",
  stop: "M6.5 6.5h11v11h-11z",
};

/**
 * An element. In `props`: `class`, `text`, `data` (dataset), `on` (listeners by event), `dir`, `title` and every other
 * key is an attribute; false, null and undefined leave it out, true sets it empty.
 *
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | null | undefined | false | Array<Node | string | null | undefined | false>)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = String(value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "on") for (const [event, heard] of Object.entries(value)) element.addEventListener(event, heard);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * An SVG element with attributes.
 *
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/**
 * A line icon that says nothing to screen readers: its button or link has the name.
 *
 * @param {keyof typeof ICONS} name
 * @param {number} [size] in CSS pixels
 */
export function icon(name, size = 18) {
  const box = { class: "icon", viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", focusable: "false" };
  return svg("svg", box, svg("path", { d: ICONS[name] }));
}

/**
 * A text from outside that may be long or right-to-left: one line with an ellipsis, whole in its title.
 *
 * @param {string} text
 * @param {string} [className]
 */
export function outside(text, className = "") {
  return h("bdi", { class: `clip ${className}`.trim(), dir: "auto", title: text, text });
}

/**
 * A button that copies; it says so for two seconds, to screen readers too.
 *
 * @param {() => string} text
 * @param {string} label what is copied, as "Copy the connection string"
 */
export function copyButton(text, label, { words = "Copy" } = {}) {
  const word = h("span", { text: words });
  const said = h("span", { class: "hidden", role: "status" });
  const button = h("button", { type: "button", class: "button small", "aria-label": label, title: label }, icon("copy", 16), word);
  let timer = 0;
  button.addEventListener("click", async () => {
    const done = await copied(text());
    word.textContent = done ? "Copied" : "Not copied";
    said.textContent = done ? "Copied" : "The browser did not allow copying: select the text and copy it yourself";
    clearTimeout(timer);
    timer = setTimeout(() => {
      word.textContent = words;
      said.textContent = "";
    }, 2000);
  });
  return h("span", { class: "copy" }, button, said);
}

/** Put a text on the clipboard; without the clipboard API (plain http) by a selected field. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
