/** How commands are told which node they are for. */

/**
 * With its blank before it; nothing for the node that they find by themselves. One whose key is its own is named by its
 * connection string.
 *
 * @param {{httpEndpoint?: string, login?: boolean}} setup
 */
export function nodeOption({ httpEndpoint = "", login = false }) {
  if (login) return ' --node "$ACS_CONNECTION_STRING"';
  return httpEndpoint.endsWith(":8480") ? "" : ` --node ${httpEndpoint}`;
}
