/** The title of the tab: the page that is shown, and before it what wants somebody's eye. */

const parts = { page: "Offhook", call: "" };

/** @param {Partial<typeof parts>} change `page`: what is shown; `call`: what the phone has to say, "" for nothing */
export function title(change) {
  Object.assign(parts, change);
  document.title = `${parts.call && `☎ ${parts.call} · `}${parts.page} · Offhook`;
}
