// What the app says to the test: one JSON object a line on stdout, and errors as plain data.

export function say(event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + "\n");
}

export function describe(error) {
  return { name: error?.name, statusCode: error?.statusCode, code: error?.code, message: String(error?.message ?? error) };
}
