/** Times, durations and identities as people read them. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/**
 * "1:05", "1:02:03"; "–" where nothing is known.
 *
 * @param {number | null | undefined} ms
 */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/**
 * The time of the day; with the date when it was not today.
 *
 * @param {string | null | undefined} iso
 */
export function moment(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? CLOCK.format(at) : `${DAY.format(at)}, ${CLOCK.format(at)}`;
}

/**
 * What people call an identity: a number without its "4:", a user by the start and end of its id.
 *
 * @param {string | null | undefined} rawId
 */
export function identity(rawId) {
  if (!rawId) return "unknown";
  if (rawId.startsWith("4:")) return rawId.slice(2);
  const user = /^8:acs:([0-9a-f-]+)_([0-9a-f-]+)$/i.exec(rawId);
  return user ? `user ${user[2].slice(0, 8)}…${user[2].slice(-4)}` : rawId;
}

/**
 * The first characters of an id; the whole is in the title.
 *
 * @param {string | null | undefined} id
 */
export function shortId(id) {
  return id ? id.slice(0, 8) : "–";
}
