/** What the phone keeps in this browser: its identity, the last numbers, the devices. It lives without storage too. */

const PREFIX = "offhook.phone.";
/** @type {Map<string, any>} */
const here = new Map();

/**
 * @param {string} name
 * @returns {any} null where nothing is kept
 */
export function kept(name) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? (here.get(name) ?? null) : JSON.parse(text);
  } catch {
    return here.get(name) ?? null;
  }
}

/**
 * @param {string} name
 * @param {any} value
 */
export function keep(name, value) {
  here.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // it holds until the page is left
  }
}

const MAX_RECENT = 6;

/** @returns {string[]} newest first */
export const recent = () => (Array.isArray(kept("recent")) ? kept("recent").filter((/** @type {any} */ one) => typeof one === "string") : []);

/** @param {string} number */
export const remember = (number) => keep("recent", [number, ...recent().filter((one) => one !== number)].slice(0, MAX_RECENT));
