// What each picture would become, and how long that takes, before anything is sent.

import { ApiError, KeyNeeded } from "./api.js";
import { optionsFor } from "./options.js";
import { problemText } from "./problems.js";
import { Queue } from "./queue.js";

const SETTLE_MS = 200;
const AT_ONCE = 3;
const MOST_KEPT = 500;

/** Of an animation the size says too little: up to these bytes its file is sent to be estimated. */
const MOST_SENT_BYTES = 8e6;

/**
 * Seconds until all of these pictures are done: what others have before them passes once.
 *
 * @param {({etaS: number|null, waitS: number}|null)[]} estimates
 */
export function secondsOfAll(estimates) {
  const known = estimates.filter((estimate) => estimate?.etaS);
  const work = known.reduce((sum, { etaS, waitS }) => sum + etaS - waitS, 0);
  return Math.max(0, ...known.map(({ waitS }) => waitS)) + work;
}

export class Estimator {
  #api;
  #pictures;
  #files;
  #options = null;
  #settling = null;
  #queue = new Queue(AT_ONCE);
  #known = new Map();

  constructor(api, pictures, files) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    pictures.addEventListener("change", ({ detail }) => {
      const picture = pictures.get(detail.id);
      if (picture?.phase === "ready" && picture.width && !picture.estimate) this.#soon();
    });
    api.addEventListener("resume", () => this.#soon());
  }

  /** Estimate all that is ready, with these options; null: there are none that could be sent. */
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
      const options = optionsFor(picture, this.#options);
      const size = { width: picture.width, height: picture.height };
      const fileId = picture.isAnimation && picture.bytes <= MOST_SENT_BYTES ? picture.fileId : null;
      const asked = { size, options, fileId, url: picture.isAnimation ? picture.url : null };
      const name = JSON.stringify(asked);
      if (picture.estimate?.name !== name) this.#queue.do(() => this.#estimate(picture.id, asked, name));
    }
  }

  async #estimate(id, asked, name) {
    if (!this.#known.has(name)) {
      if (this.#known.size > MOST_KEPT) this.#known.clear();
      this.#known.set(
        name,
        this.#ask(asked).catch((error) => {
          this.#known.delete(name);
          // Without an answer it is asked for again when calls may do.
          if (!(error instanceof ApiError) || error instanceof KeyNeeded) return null;
          return { problem: { detail: error.message } };
        }),
      );
    }
    const answer = await this.#known.get(name);
    const { output, eta_s, wait_s, problem } = answer ?? {};
    const facts = {
      output: output?.width ? output : null,
      etaS: eta_s ?? null,
      waitS: wait_s ?? 0,
      problem: problem ? problemText(problem) : "",
    };
    const estimate = { name: answer ? name : "", ...facts };
    if (this.#pictures.get(id)?.phase === "ready") this.#pictures.update(id, { estimate });
  }

  async #ask({ size, options, fileId, url }) {
    if (url) return this.#api.post("v1/estimate", { img_url: url, ...options });
    const blob = fileId && (await this.#files.get(fileId));
    if (!blob) return this.#api.post("v1/estimate", { input: size, ...options });
    const form = new FormData();
    form.append("options", JSON.stringify(options));
    form.append("image", blob, "image");
    return this.#api.json("v1/estimate", { method: "POST", body: form });
  }
}
