/** Environment variables as lines for a shell, quoted so that no character of a value means anything to it. */

/** @type {Record<string, (name: string, value: string) => string>} */
const SHELLS = {
  "sh, bash, zsh": (name, value) => `export ${name}='${value.replaceAll("'", "'\\''")}'`,
  PowerShell: (name, value) => `$env:${name} = '${value.replaceAll("'", "''")}'`,
  fish: (name, value) => `set -gx ${name} '${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`,
};

/**
 * @param {Record<string, string>} environment
 * @returns {{name: string, text: string}[]}
 */
export function shells(environment) {
  return Object.entries(SHELLS).map(([name, line]) => ({
    name,
    text: Object.entries(environment).map(([key, value]) => line(key, value)).join("\n"),
  }));
}
