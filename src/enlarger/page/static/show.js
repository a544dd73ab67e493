// Decides what the stage shows of the picture that is looked at: its file, the tiles that come, its result.

import { ApiError, ConnectionLost } from "./api.js";
import { BitmapLayer, LiveLayer, PyramidLayer } from "./layers.js";
import { inputPlace } from "./options.js";
import { t } from "./texts.js";

const LARGEST_BEFORE_PX = 4096;
const LARGEST_PREVIEW_PX = 2048;
const RETRY_MS = 1000;

/** Formats that most browsers cannot show: such a result is not fetched whole to find out. */
const UNSHOWABLE = new Set(["image/tiff"]);

export class Show {
  #api;
  #pictures;
  #files;
  #stage;
  #isCalm;
  #notices;
  /** The picture that is shown, with its layers. */
  #shown = null;

  constructor({ api, pictures, files, stage, isCalm, notices }) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    this.#stage = stage;
    this.#isCalm = isCalm;
    this.#notices = notices;
    pictures.addEventListener("select", () => this.#open());
    pictures.addEventListener("change", ({ detail }) => {
      if (detail.id === this.#shown?.id) this.#update();
    });
  }

  /** The bitmap of the picture that is shown, as it came; null: it is not known here. */
  get before() {
    return this.#shown?.before?.bitmap ?? null;
  }

  /** Whether `before` is the service's preview, whose pixels are not those of the picture. */
  get isPreview() {
    return this.#shown?.isPreview ?? false;
  }

  #open() {
    this.#close();
    const picture = this.#pictures.selected;
    if (!picture) {
      this.#stage.show(null);
      return;
    }
    const shown = {
      id: picture.id,
      before: null,
      beforeOf: undefined,
      isPreview: false,
      live: null,
      result: null,
      resultOf: null,
      isNew: true,
    };
    this.#shown = shown;
    this.#update();
  }

  #close() {
    const shown = this.#shown;
    this.#shown = null;
    if (!shown) return;
    shown.isClosed = true;
    shown.before?.close();
    shown.live?.close();
    shown.result?.close();
  }

  /** Open the picture as it came: the chosen file, or else what the service keeps of it. */
  async #openBefore(shown, picture) {
    const jobId = picture.job?.input ? picture.jobId : null;
    if (shown.before || shown.beforeOf === jobId) return;
    shown.beforeOf = jobId;
    const whole = await this.#openFile(picture);
    const bitmap = whole ?? (jobId && (await this.#openPreview(shown, jobId)));
    if (!bitmap) return;
    if (shown.isClosed || shown.before) {
      bitmap.close();
      return;
    }
    shown.isPreview = !whole;
    shown.before = new BitmapLayer(bitmap, { x: 0, y: 0, width: 1, height: 1 });
    this.#update();
  }

  /** Decode the chosen file. Returns null where there is none, or where the browser cannot show it. */
  async #openFile({ id, fileId, width, height }) {
    const file = await this.#files.get(fileId);
    if (!file) return null;
    const reduced = width ? Math.min(1, LARGEST_BEFORE_PX / Math.max(width, height)) : 1;
    const options =
      reduced < 1 ? { resizeWidth: Math.round(width * reduced), resizeHeight: Math.round(height * reduced) } : {};
    try {
      const bitmap = await createImageBitmap(file, options);
      if (!width) this.#pictures.update(id, { width: bitmap.width, height: bitmap.height });
      return bitmap;
    } catch {
      return null;
    }
  }

  /** Decode what the service shows of a job's input. Returns null where it has nothing, or not yet. */
  async #openPreview(shown, jobId) {
    try {
      return await createImageBitmap(await this.#api.blob(`v1/jobs/${jobId}/input`));
    } catch (error) {
      const isEarly = error instanceof ApiError && error.status === 409;
      if (isEarly || error instanceof ConnectionLost) {
        setTimeout(() => {
          if (shown.isClosed) return;
          shown.beforeOf = undefined;
          this.#update();
        }, RETRY_MS);
      }
      return null;
    }
  }

  #update() {
    const shown = this.#shown;
    const picture = this.#pictures.get(shown.id);
    if (!picture) return;
    this.#openBefore(shown, picture);
    const size = sizeOfResult(picture);
    if (!size) {
      if (shown.isNew) this.#stage.show(null);
      return;
    }
    if (shown.before) shown.before.place = inputPlace(picture, size, picture.options);
    this.#updateLive(shown, picture, size);
    this.#updateResult(shown, picture);
    const after = [shown.live, shown.result].filter(Boolean);
    const state = `${size.width}/${size.height}/${Boolean(shown.before)}/${after.length}/${shown.result ? 1 : 0}/${picture.phase}`;
    if (state === shown.state) return;
    shown.state = state;
    this.#stage.show({
      size,
      before: shown.before,
      after,
      hasAlpha: mayHaveAlpha(picture),
      keep: !shown.isNew,
      label: picture.name,
    });
    shown.isNew = false;
  }

  #updateLive(shown, picture, size) {
    if (picture.phase !== "running") return;
    if (!picture.job?.progress?.tiles_total && !picture.tiles.size) return;
    shown.live ??= new LiveLayer(size, this.#stage.refresh, this.#isCalm);
    for (const place of picture.tiles.values()) {
      shown.live.add(place, () => this.#api.blob(`v1/jobs/${picture.jobId}/tiles/${place.index}`));
    }
  }

  async #updateResult(shown, picture) {
    if (picture.phase !== "succeeded" || shown.resultOf === picture.jobId) return;
    shown.resultOf = picture.jobId;
    const wasLive = Boolean(shown.live);
    try {
      const result = await this.#openResult(picture);
      if (shown.isClosed) {
        result.close();
        return;
      }
      shown.result = result;
      this.#update();
      this.#stage.reveal();
      // The result lies over the tiles; once it is drawn they are not needed.
      setTimeout(() => {
        if (shown.isClosed || !wasLive) return;
        shown.live.close();
        shown.live = null;
        this.#update();
      }, 1500);
    } catch {
      if (shown.isClosed) return;
      this.#notices.tell(t("stage.cannotShow"));
      this.#stage.reveal();
    }
  }

  /** Decode a result, or its preview where the browser cannot show it. */
  async #openResult({ jobId, job: { result } }) {
    const address = `v1/jobs/${jobId}/result`;
    if (!UNSHOWABLE.has(result.media_type)) {
      const blob = await this.#api.blob(address);
      try {
        return await PyramidLayer.open(blob, this.#stage.refresh);
      } catch {
        // The browser does not read this format, or has too little memory.
      }
    }
    const { width, height } = result;
    const bitmap = await createImageBitmap(await this.#api.blob(`${address}?max_side=${LARGEST_PREVIEW_PX}`));
    return new BitmapLayer(bitmap, { x: 0, y: 0, width, height }, { isWhole: true });
  }
}

function mayHaveAlpha({ job, type }) {
  return job?.result ? job.result.kept.includes("alpha") : type !== "image/jpeg";
}

/** Pixels of a picture's result, as far as is known: of the input, where nothing is. */
function sizeOfResult(picture) {
  const { job, estimate, width, height, tiles } = picture;
  if (job?.result) return { width: job.result.width, height: job.result.height };
  if (picture.output) return picture.output;
  if (estimate?.output) return estimate.output;
  if (tiles.size) {
    const all = [...tiles.values()];
    return {
      width: Math.max(...all.map((tile) => tile.x + tile.w)),
      height: Math.max(...all.map((tile) => tile.y + tile.h)),
    };
  }
  return width ? { width, height } : null;
}
