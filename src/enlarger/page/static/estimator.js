// What each picture would become, and how long that takes, before anything is sent.

import { ApiError } from "./api.js";
import { Queue } from "./queue.js";

const SETTLE_MS = 200;
const AT_ONCE = 3;
const MOST_KEPT = 500;

export class Estimator {
  #api;
  #pictures;
  #options = null;
  #settling = null;
  #queue = new Queue(AT_ONCE);
  #known = new Map();

  constructor(api, pictures) {
    this.#api = api;
    this.#pictures = pictures;
    pictures.addEventListener("change", ({ detail }) => {
      const picture = pictures.get(detail.id);
      if (picture?.phase === "ready" && picture.width && !picture.estimate) this.#soon();
    });
  }

  /** Estimate all that is ready, with these options. */
  setOptions(options) {
    this.#options = options;
    this.#soon();
  }

  #soon() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#estimateAll(), SETTLE_MS);
  }

  #estimateAll() {
    if (!this.#options) return;
    for (const picture of this.#pictures.inPhase("ready")) {
      if (!picture.width) continue;
      const request = { input: { width: picture.width, height: picture.height }, ...this.#options };
      const name = JSON.stringify(request);
      if (picture.estimate?.name !== name) this.#queue.do(() => this.#estimate(picture.id, request, name));
    }
  }

  async #estimate(id, request, name) {
    if (!this.#known.has(name)) {
      if (this.#known.size > MOST_KEPT) this.#known.clear();
      this.#known.set(
        name,
        this.#api.post("v1/estimate", request).catch((error) => {
          this.#known.delete(name);
          return error instanceof ApiError ? { problem: { detail: error.message } } : {};
        }),
      );
    }
    const { output, eta_s, problem } = await this.#known.get(name);
    const facts = { output: output?.width ? output : null, etaS: eta_s ?? null, problem: problem?.detail ?? "" };
    if (this.#pictures.get(id)?.phase === "ready") this.#pictures.update(id, { estimate: { name, ...facts } });
  }
}
