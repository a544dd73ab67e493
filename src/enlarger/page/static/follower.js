// Takes the news of jobs to their pictures, and takes up what a tab had before it was loaded again.

import { hasEnded, JobFeed } from "./feed.js";
import { problemText } from "./problems.js";
import { t } from "./texts.js";

/** The longest that `setTimeout` waits; a result that lives longer is looked at again then. */
const LONGEST_MS = 2 ** 31 - 1;

export class Follower {
  #api;
  #pictures;
  #notices;
  #feed;

  constructor(api, pictures, notices) {
    this.#api = api;
    this.#pictures = pictures;
    this.#notices = notices;
    this.#feed = new JobFeed(api, (jobId, type, data) => this.#take(jobId, type, data));
  }

  /** Follow a job, as the service told it when it took it: a result that was there before has ended by then. */
  follow(job) {
    if (hasEnded(job)) this.#take(job.id, "state", job);
    else this.#feed.follow(job.id);
  }

  /**
   * Go on with a picture that was there before the page was loaded again.
   *
   * @param {Object} picture
   * @param parts `reader` and `sender`, which go on with what they had begun
   */
  resume(picture, { reader, sender }) {
    const { id, phase, jobId, job } = picture;
    reader.restore(id);
    if (phase === "reading") reader.read(id);
    else if (phase === "sending") sender.resume(id);
    else if (["queued", "running"].includes(phase)) this.#feed.follow(jobId);
    else if (phase === "succeeded") this.#expireLater(id, job.expires_at);
  }

  /** Take the tiles that were finished before: a stream that begins does not repeat them. */
  async #catchUp({ id, jobId, tiles }) {
    try {
      const finished = await this.#api.json(`v1/jobs/${jobId}/tiles`);
      for (const tile of finished.tiles) tiles.set(tile.index, tile);
      this.#pictures.update(id, {});
    } catch {
      // It has ended: its result comes in place of tiles.
    }
  }

  #take(jobId, type, data) {
    const picture = this.#pictures.byJob(jobId);
    if (!picture) return;
    const { id } = picture;
    if (type === "tile") {
      picture.tiles.set(data.index, data);
      this.#pictures.update(id, {});
    } else if (type === "progress") {
      this.#pictures.update(id, { job: { ...picture.job, ...data } });
    } else if (type === "state") {
      this.#takeState(picture, data);
    } else {
      this.#pictures.update(id, { phase: "expired" });
    }
  }

  #takeState(picture, job) {
    const size = job.input && !picture.width ? { width: job.input.width, height: job.input.height } : {};
    if (job.state !== picture.phase) this.#announce(picture.name, job);
    this.#pictures.update(picture.id, { job, phase: job.state, ...size });
    if (job.state === "running" && job.progress?.tiles_done > picture.tiles.size) this.#catchUp(picture);
    if (job.state === "succeeded") this.#expireLater(picture.id, job.expires_at);
  }

  #announce(name, { state, error }) {
    if (state === "succeeded") this.#notices.announce(t("news.succeeded", { name }));
    if (state === "failed") this.#notices.announce(t("news.failed", { name, problem: problemText(error ?? {}) }));
  }

  #expireLater(id, expiresAt) {
    const leftMs = new Date(expiresAt).getTime() - Date.now();
    if (leftMs <= 0) this.#pictures.update(id, { phase: "expired" });
    else setTimeout(() => this.#expireLater(id, expiresAt), Math.min(leftMs, LONGEST_MS));
  }
}
