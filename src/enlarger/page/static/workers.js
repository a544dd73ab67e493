// Starts workers. Browsers with Trusted Types take an address of code from this policy alone.

const ALLOWED = new Set(["workers/decode.js", "workers/zipper.js"]);

const policy = globalThis.trustedTypes?.createPolicy("enlarger", {
  createScriptURL(name) {
    if (!ALLOWED.has(name)) throw new TypeError(`not a worker of this page: ${name}`);
    return new URL(name, import.meta.url).href;
  },
});

function start(name) {
  const address = policy ? policy.createScriptURL(name) : new URL(name, import.meta.url);
  return new Worker(address, { type: "module" });
}

/** A worker whose answers are promises. It is started with the first call. */
export class Calls {
  #name;
  #worker = null;
  #pending = new Map();
  #next = 0;

  constructor(name) {
    this.#name = name;
  }

  /** Have the worker do something. Rejects with an Error that has its text. */
  call(action, values, transfer = []) {
    this.#worker ??= this.#started();
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(call, { resolve, reject });
      this.#worker.postMessage({ call, action, ...values }, transfer);
    });
  }

  #started() {
    const worker = start(this.#name);
    worker.addEventListener("message", ({ data }) => {
      const { resolve, reject } = this.#pending.get(data.call);
      this.#pending.delete(data.call);
      if (data.problem === undefined) resolve(data.result);
      else reject(new Error(data.problem));
    });
    worker.addEventListener("error", () => {
      // It could not be loaded, or ran out of memory. The next call starts another one.
      const pending = [...this.#pending.values()];
      this.#pending.clear();
      this.#worker = null;
      worker.terminate();
      for (const { reject } of pending) reject(new Error("the worker ended"));
    });
    return worker;
  }
}

export const decoder = new Calls("workers/decode.js");
export const zipper = new Calls("workers/zipper.js");
