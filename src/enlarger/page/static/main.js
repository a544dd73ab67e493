// Makes the parts of the page and joins them.

import { Api, ApiError } from "./api.js";
import { Bar, copyPicture, resultName, saveBlob } from "./bar.js";
import { Comparison } from "./compare.js";
import { button, h, setAttribute, setText } from "./dom.js";
import { Estimator } from "./estimator.js";
import { JobFeed } from "./feed.js";
import { Intake } from "./intake.js";
import { KeptFiles } from "./kept-files.js";
import { Keys } from "./keys.js";
import { inputPlace, regionSide, secondsFor } from "./options.js";
import { Pictures } from "./pictures.js";
import { Reader } from "./reader.js";
import { RegionPicker } from "./region.js";
import { Rows } from "./rows.js";
import { Sender } from "./sender.js";
import { Service } from "./service.js";
import { modelTitle, Settings } from "./settings.js";
import { Show } from "./show.js";
import { Stage } from "./stage.js";
import { formatBytes, formatSeconds, formatSize, loadTexts, t } from "./texts.js";
import { zipper } from "./workers.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const isCalm = () => calm.matches;

document.documentElement.lang = await loadTexts(navigator.languages);

const keys = new Keys(sessionStorage);
const api = new Api(keys);
const files = new KeptFiles();
const pictures = new Pictures(sessionStorage);
const feed = new JobFeed(api, follow);
const reader = new Reader(api, pictures, files);
const sender = new Sender(api, pictures, files, feed);
const estimator = new Estimator(api, pictures);
const settings = new Settings(sessionStorage);
const stage = new Stage(isCalm);
const show = new Show({ api, pictures, files, stage, isCalm });
const service = new Service(api);
const intake = new Intake(addFiles, addUrl);
const rows = new Rows(pictures, { select: (id) => pictures.select(id), end });
const bar = new Bar(pictures, { download, copy, open, again, end });

const picker = new RegionPicker(stage);
const comparison = new Comparison({ api, files, stage, titleOf, choose: enlargeWith });
stage.addTool(button({ icon: "compare", label: t("region.open"), kind: "tool", press: compareRegion }));

const start = button({ text: t("start.one"), kind: "primary start", press: startAll });
const startText = start.querySelector("span");
const total = h("p", { class: "total" });
const zip = button({ icon: "zip", text: t("rows.zip"), press: downloadAll });
const clear = button({ icon: "trash", label: t("rows.clear"), press: clearAll });
const compose = h("div", { class: "compose" }, settings.element, start);
const news = h("div", { class: "unseen", role: "status", "aria-live": "polite" });
const notice = h("div", { class: "notice", role: "alert", hidden: true });
const side = h(
  "aside",
  { class: "side", "aria-label": t("rows.label") },
  intake.buttons,
  rows.element,
  h("div", { class: "side-foot" }, total, zip, clear),
);
const bench = h("div", { class: "bench" }, side, stage.element, h("div", { class: "bottom" }, bar.element, compose));
const main = h("main", {}, intake.hero, bench);

document.querySelector(".top").append(service.button);
document.body.append(main, ...intake.elements, service.panel, news, notice);

settings.addEventListener("change", () => estimator.setOptions(settings.options));
for (const type of ["change", "select"]) pictures.addEventListener(type, soon);
api.addEventListener("connection", () => tell(api.isConnected ? "" : t("connection.lost")));
pictures.addEventListener("select", () => {
  picker.cancel();
  comparison.close();
  const { selected } = pictures;
  if (selected?.jobId) feed.prefer(selected.jobId);
});
addEventListener("keydown", moveSelection);

let passing = null;
let isAsked = false;

restore();
service.run(() => pictures.inPhase("sending", "queued", "running").length > 0);
ask("openapi.json", (document) => settings.setDocument(document));
ask("v1/models", ({ models }) => settings.setModels(models));
ask("health", (health) => intake.setLimits(t("intake.limits", limitsOf(health))));
arrange();

/** Ask for something that the page can do without, and take it when it comes. */
async function ask(path, take) {
  try {
    take(await api.json(path));
  } catch (error) {
    if (error instanceof ApiError && error.status !== 503) throw error;
    setTimeout(() => ask(path, take), 3000);
  }
}

function limitsOf(health) {
  return {
    size: formatBytes(health.max_file_size_mb * 1_048_576),
    side: health.max_dimension,
    time: formatSeconds(health.file_max_age_minutes * 60),
  };
}

function addFiles(added) {
  const ids = added.map((file) => {
    const { id, fileId } = pictures.add({
      name: file.webkitRelativePath || file.name,
      bytes: file.size,
      type: file.type,
    });
    files.put(fileId, file);
    reader.read(id);
    return id;
  });
  pictures.select(ids[0]);
}

function addUrl(url) {
  const name = decodeURIComponent(new URL(url).pathname.split("/").pop() || new URL(url).hostname);
  const { id } = pictures.add({ name, url });
  reader.read(id);
  pictures.select(id);
}

function startAll() {
  const { options } = settings;
  for (const picture of pictures.inPhase("ready")) {
    if (!picture.estimate?.problem) sender.send(picture.id, options);
  }
  stage.element.focus({ preventScroll: true });
}

/** A job has news. */
function follow(jobId, type, data) {
  const picture = pictures.byJob(jobId);
  if (!picture) return;
  const { id } = picture;
  if (type === "tile") {
    picture.tiles.set(data.index, data);
    pictures.update(id, {});
  } else if (type === "progress") {
    pictures.update(id, { job: { ...picture.job, ...data } });
  } else if (type === "state") {
    const input = data.input && !picture.width ? { width: data.input.width, height: data.input.height } : {};
    if (data.state !== picture.phase) announce(picture, data);
    pictures.update(id, { job: data, phase: data.state, ...input });
    if (data.state === "succeeded") expireLater(id, data.expires_at);
  } else {
    pictures.update(id, { phase: "expired" });
  }
}

function announce(picture, job) {
  if (job.state === "succeeded") setText(news, t("news.succeeded", { name: picture.name }));
  if (job.state === "failed") setText(news, t("news.failed", { name: picture.name, problem: job.error?.detail ?? "" }));
}

function expireLater(id, expiresAt) {
  const leftMs = new Date(expiresAt).getTime() - Date.now();
  setTimeout(() => pictures.update(id, { phase: "expired" }), Math.min(Math.max(0, leftMs), 2 ** 31 - 1));
}

async function end(id) {
  const { phase, fileId } = pictures.get(id);
  try {
    if (["sending", "queued", "running"].includes(phase)) {
      await sender.cancel(id);
      return;
    }
  } catch (error) {
    tell(error.message);
    return;
  }
  pictures.remove(id);
  if (!pictures.sharesFile(fileId)) files.drop(fileId);
}

function titleOf(modelId) {
  const model = settings.models.find(({ id }) => id === modelId);
  return model ? modelTitle(model) : modelId;
}

/** Let people choose a part of the picture, and have all models make it. */
async function compareRegion() {
  const { selected } = pictures;
  if (!selected?.width) return;
  const models = settings.models.filter((model) => model.installed);
  const place = inputPlace(selected, stage.view.size, selected.options);
  const told = (part) => {
    const seconds = secondsFor(part, models);
    return seconds === null ? "" : `≈ ${formatSeconds(seconds)}`;
  };
  const region = await picker.choose(selected, place, regionSide(models), told);
  if (!region || pictures.selected !== selected) return;
  const options = Object.keys(selected.options).length ? selected.options : settings.options;
  const scale = place.width / selected.width;
  await comparison.open(selected, show.before, { options, region, scale, models });
}

/** Enlarge a whole picture with the model that was best at a part of it. */
function enlargeWith(picture, model) {
  settings.options = { ...(Object.keys(picture.options).length ? picture.options : settings.options), model };
  const id = picture.phase === "ready" ? picture.id : copyOf(picture).id;
  pictures.select(id);
  sender.send(id, settings.options);
}

/** Take a picture once more, to be made with other settings. */
function again(id) {
  const picture = pictures.get(id);
  const copied = copyOf(picture);
  settings.options = picture.options;
  pictures.select(copied.id);
  settings.element.querySelector("select").focus();
}

function copyOf({ fileId, name, bytes, type, url, width, height, thumbnail }) {
  return pictures.add({ fileId, name, bytes, type, url, width, height, thumbnail, phase: "ready" });
}

function resultOf(id) {
  return api.blob(`v1/jobs/${pictures.get(id).jobId}/result`);
}

async function download(id) {
  await tried(async () => saveBlob(await resultOf(id), resultName(pictures.get(id))));
}

async function copy(id) {
  await tried(async () => {
    await copyPicture(() => resultOf(id));
    setText(news, t("news.copied"));
    tell(t("news.copied"), { passes: true });
  });
}

async function open(id) {
  // Opened at once: later it would be a window that nobody asked for.
  const tab = globalThis.open("", "_blank");
  await tried(async () => {
    const url = URL.createObjectURL(await resultOf(id));
    if (tab) tab.location.href = url;
  });
}

async function downloadAll() {
  zip.disabled = true;
  await tried(async () => {
    const done = [];
    for (const picture of pictures.inPhase("succeeded")) {
      done.push({ name: resultName(picture), blob: await resultOf(picture.id) });
    }
    saveBlob(await zipper.call("zip", { files: done }), "enlarged.zip");
  });
  zip.disabled = false;
}

function clearAll() {
  for (const picture of pictures.all) {
    if (!["sending", "queued", "running"].includes(picture.phase)) end(picture.id);
  }
}

async function tried(action) {
  try {
    await action();
  } catch (error) {
    tell(error.message);
  }
}

/** Tell something for as long as it holds, or for some seconds. */
function tell(text, { passes = text !== t("connection.lost") } = {}) {
  clearTimeout(passing);
  notice.hidden = !text;
  setText(notice, text);
  if (text && passes) passing = setTimeout(() => tell(""), 6000);
}

/** Alt with an arrow looks at the next picture, or the one before. */
function moveSelection(event) {
  if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
  const { all, selected } = pictures;
  const next = all[all.indexOf(selected) + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  pictures.select(next.id);
}

/** Take up what this tab had before it was loaded again. */
function restore() {
  for (const picture of pictures.restore()) {
    reader.restore(picture.id);
    if (picture.phase === "reading") reader.read(picture.id);
    else if (picture.phase === "sending") sender.resume(picture.id);
    else if (["queued", "running"].includes(picture.phase)) feed.follow(picture.jobId);
    else if (picture.phase === "succeeded") expireLater(picture.id, picture.job.expires_at);
  }
}

function soon() {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    arrange();
  });
}

/** Show what fits the pictures that there are. */
function arrange() {
  const { all } = pictures;
  document.body.dataset.state = all.length ? "bench" : "empty";
  intake.hero.hidden = all.length > 0;
  bench.hidden = !all.length;
  const ready = pictures.inPhase("ready").filter((picture) => !picture.estimate?.problem);
  const seconds = ready.reduce((sum, picture) => sum + (picture.estimate?.etaS ?? 0), 0);
  compose.hidden = !pictures.inPhase("ready", "reading").length;
  start.disabled = !ready.length;
  setText(startText, startWords(ready, seconds));
  const done = pictures.inPhase("succeeded").length;
  setText(total, t("rows.total", { n: all.length, done }));
  zip.hidden = done < 2;
  setAttribute(document.body, "data-many", all.length > 1);
}

function startWords(ready, seconds) {
  const time = seconds ? ` · ≈ ${formatSeconds(seconds)}` : "";
  const output = ready.length === 1 && ready[0].estimate?.output;
  if (ready.length > 1) return t("start.many", { n: ready.length }) + time;
  return t("start.one") + (output ? ` · ${formatSize(output)}` : "") + time;
}
