// Calls the server. What it refuses and that it is gone are two kinds of error.

const PATIENCE_MS = 15000;

/** The server cannot be reached, or its answer broke off: nobody knows whether it did what was asked. */
export class Gone extends Error {}

/** The server said no: `message` is its line, `picture` the present one where ours was old (status 409). */
export class Refused extends Error {
  constructor(status, line, picture) {
    super(line);
    this.status = status;
    this.picture = picture;
  }
}

async function call(path, options = {}) {
  let answer, value;
  try {
    answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), ...options });
    value = JSON.parse(await answer.text());
  } catch (error) {
    if (!answer || answer.ok || !(error instanceof SyntaxError)) throw new Gone();
    value = {};
  }
  if (answer.ok) return value;
  throw new Refused(answer.status, value.error ?? `the server answered ${answer.status}`, value.picture);
}

export const get = (path, query = {}) => call(`${path}?${new URLSearchParams(query)}`);

const JSON_TYPE = { "content-type": "application/json" };

export const post = (path, value, options = {}) =>
  call(path, { method: "POST", headers: JSON_TYPE, body: JSON.stringify(value), ...options });

export const imageAddress = (id) => `/api/pictures/${id}/image`;

export const exportAddress = (format) => `/api/export/${format}`;
