// Calls of the service. All addresses are relative to the page, so they are right below any path of a proxy.

import { problemText } from "./problems.js";
import { t } from "./texts.js";

/** An error that the service answered, in the words of the page where it has some. */
export class ApiError extends Error {
  constructor(status, problem, retryAfterS) {
    super(problemText(problem) || `HTTP ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = problem.code ?? "";
    this.retryable = Boolean(problem.retryable);
    this.retryAfterS = retryAfterS;
    /** @type {{option: string, detail: string}[]} what is wrong with options */
    this.faults = problem.errors ?? [];
  }
}

/** The service wants a key, and people left the question for it. Calls may do once the API dispatches `resume`. */
export class KeyNeeded extends ApiError {
  constructor() {
    super(401, { detail: t("key.needed") });
    this.name = "KeyNeeded";
  }
}

/** No answer came: the service restarts, or the network is away. */
export class ConnectionLost extends Error {
  constructor(cause) {
    super("no connection", { cause });
    this.name = "ConnectionLost";
  }
}

/** Statuses of a proxy whose service is away. */
const AWAY = new Set([502, 504]);

/** Dispatches `connection` when it is lost or back, and `resume` when calls that failed by it, or by a key, may do now. */
export class Api extends EventTarget {
  #keys;
  #isConnected = true;

  /** @param {import("./keys.js").Keys} keys */
  constructor(keys) {
    super();
    this.#keys = keys;
    keys.addEventListener("given", () => this.dispatchEvent(new Event("resume")));
  }

  /** Whether the last call got an answer. */
  get isConnected() {
    return this.#isConnected;
  }

  /**
   * Call the service; where it wants a key, ask for one and call again.
   *
   * @param {string} path relative, such as `v1/jobs`
   * @returns {Promise<Response>} with a status below 400
   * @throws {ApiError|KeyNeeded|ConnectionLost|DOMException} the last if the signal aborted it
   */
  async call(path, { headers = {}, ...init } = {}) {
    for (;;) {
      const key = this.#keys.current;
      const response = await this.#fetch(path, {
        ...init,
        headers: key ? { ...headers, Authorization: `Bearer ${key}` } : headers,
      });
      if (response.ok) return response;
      const error = await errorOf(response);
      if (error.status !== 401) throw error;
      if (!(await this.#keys.ask(key ? error.message : "", key))) throw new KeyNeeded();
    }
  }

  /** People do something that takes a call: if they left the question for a key, ask again. */
  remind() {
    this.#keys.remind();
  }

  /** Call the service, and read the JSON that it answers. */
  async json(path, init) {
    const response = await this.call(path, init);
    try {
      return await response.json();
    } catch (error) {
      throw lost(error);
    }
  }

  /** Call the service, and read the file that it answers. */
  async blob(path, init) {
    const response = await this.call(path, init);
    try {
      return await response.blob();
    } catch (error) {
      throw lost(error);
    }
  }

  /** Send JSON, and read the JSON that the service answers. */
  async post(path, body, init = {}) {
    return this.json(path, {
      method: "POST",
      body: JSON.stringify(body),
      ...init,
      headers: { "Content-Type": "application/json", ...init.headers },
    });
  }

  async #fetch(path, init) {
    try {
      const response = await fetch(path, { ...init, credentials: "same-origin", redirect: "error" });
      if (AWAY.has(response.status) && !isOurs(response)) throw new TypeError(`HTTP ${response.status}`);
      this.#connected(true);
      return response;
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.#connected(false);
      throw lost(error);
    }
  }

  #connected(isConnected) {
    if (isConnected === this.#isConnected) return;
    this.#isConnected = isConnected;
    this.dispatchEvent(new Event("connection"));
    if (isConnected) this.dispatchEvent(new Event("resume"));
  }
}

function lost(error) {
  return error.name === "AbortError" ? error : new ConnectionLost(error);
}

function isOurs(response) {
  return response.headers.get("Content-Type")?.includes("json") ?? false;
}

async function errorOf(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // An answer of a proxy: only its status is known.
  }
  const retryAfterS = Number(response.headers.get("Retry-After")) || null;
  return new ApiError(response.status, problem, retryAfterS);
}

/** Wait, unless the signal aborts first. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(done, ms);
    function done() {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }
    function aborted() {
      clearTimeout(timer);
      reject(signal.reason);
    }
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** Milliseconds before the next attempt: doubled each time, at most 15 s, with some chance so that tabs do not march in step. */
export function backoffMs(attempt) {
  return Math.min(15_000, 500 * 2 ** attempt) * (0.75 + Math.random() / 2);
}
