// What people can do with pictures once they are in the list.

import { Comparison } from "./compare.js";
import { inputPlace, regionSide, secondsFor } from "./options.js";
import { RegionPicker } from "./region.js";
import { copyPicture, resultName, saveBlob } from "./saving.js";
import { modelTitle } from "./settings.js";
import { formatSeconds, t } from "./texts.js";
import { zipper } from "./workers.js";

const MOVING = ["sending", "queued", "running"];

export class Acts {
  #api;
  #pictures;
  #files;
  #sender;
  #settings;
  #stage;
  #show;
  #notices;

  constructor({ api, pictures, files, sender, settings, stage, show, notices }) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    this.#sender = sender;
    this.#settings = settings;
    this.#stage = stage;
    this.#show = show;
    this.#notices = notices;
    this.#picker = new RegionPicker(stage);
    this.#comparison = new Comparison({
      api,
      files,
      stage,
      titleOf: (modelId) => this.#titleOf(modelId),
      choose: (picture, modelId) => this.#enlargeWith(picture, modelId),
    });
    pictures.addEventListener("select", () => {
      this.#picker.cancel();
      this.#comparison.close();
    });
  }

  #picker;
  #comparison;

  select = (id) => this.#pictures.select(id);

  /** Cancel what is being made, or take a picture off the list. */
  end = async (id) => {
    const { phase, fileId } = this.#pictures.get(id);
    if (MOVING.includes(phase)) {
      await this.#tried(() => this.#sender.cancel(id));
      return;
    }
    this.#pictures.remove(id);
    if (!this.#pictures.sharesFile(fileId)) this.#files.drop(fileId);
  };

  /** Take all off the list that is not being made. */
  clear = () => {
    for (const { id, phase } of this.#pictures.all) if (!MOVING.includes(phase)) this.end(id);
  };

  /** Send all that is ready. */
  startAll = () => {
    const { options } = this.#settings;
    for (const { id, estimate } of this.#pictures.inPhase("ready")) {
      if (!estimate?.problem) this.#sender.send(id, options);
    }
    this.#stage.element.focus({ preventScroll: true });
  };

  /** Take a picture once more, to be made with other settings. */
  again = (id) => {
    const picture = this.#pictures.get(id);
    const copied = this.#copyOf(picture);
    this.#settings.options = picture.options;
    this.#pictures.select(copied.id);
    this.#settings.focus();
  };

  download = (id) => this.#tried(async () => saveBlob(await this.#resultOf(id), resultName(this.#pictures.get(id))));

  copy = (id) =>
    this.#tried(async () => {
      await copyPicture(() => this.#resultOf(id));
      this.#notices.tell(t("news.copied"));
    });

  open = async (id) => {
    // Opened at once: later it would be a window that nobody asked for.
    const tab = globalThis.open("", "_blank");
    await this.#tried(async () => {
      const url = URL.createObjectURL(await this.#resultOf(id));
      if (tab) tab.location.href = url;
    });
  };

  downloadAll = () =>
    this.#tried(async () => {
      const files = [];
      for (const picture of this.#pictures.inPhase("succeeded")) {
        files.push({ name: resultName(picture), blob: await this.#resultOf(picture.id) });
      }
      saveBlob(await zipper.call("zip", { files }), "enlarged.zip");
    });

  /** Let people choose a part of the picture, and have all models make it. */
  compareRegion = async () => {
    const { selected } = this.#pictures;
    if (!selected?.width) return;
    const models = this.#settings.models.filter((model) => model.installed);
    const place = inputPlace(selected, this.#stage.view.size, selected.options);
    const told = (part) => {
      const seconds = secondsFor(part, models);
      return seconds === null ? "" : `≈ ${formatSeconds(seconds)}`;
    };
    const region = await this.#picker.choose(selected, place, regionSide(models), told);
    if (!region || this.#pictures.selected !== selected) return;
    const scale = place.width / selected.width;
    const options = this.#optionsOf(selected);
    const { before, isPreview } = this.#show;
    await this.#comparison.open(selected, before, { options, region, scale, models, isPreview });
  };

  /** Enlarge a whole picture with the model that was best at a part of it. */
  #enlargeWith(picture, model) {
    this.#settings.options = { ...this.#optionsOf(picture), model };
    const id = picture.phase === "ready" ? picture.id : this.#copyOf(picture).id;
    this.#pictures.select(id);
    this.#sender.send(id, this.#settings.options);
  }

  /** What a picture was asked for with, or would be. */
  #optionsOf({ options }) {
    return Object.keys(options).length ? options : this.#settings.options;
  }

  #copyOf({ fileId, name, bytes, type, url, width, height, thumbnail }) {
    return this.#pictures.add({ fileId, name, bytes, type, url, width, height, thumbnail, phase: "ready" });
  }

  #titleOf(modelId) {
    const model = this.#settings.models.find(({ id }) => id === modelId);
    return model ? modelTitle(model) : modelId;
  }

  #resultOf(id) {
    return this.#api.blob(`v1/jobs/${this.#pictures.get(id).jobId}/result`);
  }

  async #tried(action) {
    try {
      await action();
    } catch (error) {
      this.#notices.tell(error.message);
    }
  }
}
