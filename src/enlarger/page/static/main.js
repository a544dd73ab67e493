// Makes the parts of the page and joins them.

import { openAbove } from "./above.js";
import { Acts } from "./acts.js";
import { Api, ApiError, KeyNeeded } from "./api.js";
import { Bar } from "./bar.js";
import { button, h, setText } from "./dom.js";
import { Estimator, secondsOfAll } from "./estimator.js";
import { Follower } from "./follower.js";
import { Intake } from "./intake.js";
import { KeptFiles } from "./kept-files.js";
import { Keys } from "./keys.js";
import { Notices } from "./notices.js";
import { Pictures } from "./pictures.js";
import { Reader } from "./reader.js";
import { Rows } from "./rows.js";
import { Sender } from "./sender.js";
import { Service } from "./service.js";
import { Settings } from "./settings.js";
import { isForItself, makeShortcuts } from "./shortcuts.js";
import { Show } from "./show.js";
import { Stage } from "./stage.js";
import { keepSteady } from "./steady.js";
import { formatBytes, formatExpected, formatSeconds, formatSize, loadTexts, t } from "./texts.js";

const RETRY_MS = 3000;
const TICK_MS = 1000;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const isCalm = () => calm.matches;

document.documentElement.lang = await loadTexts(navigator.languages);

const notices = new Notices();
const api = new Api(new Keys(sessionStorage));
const pictures = new Pictures(sessionStorage);
const files = new KeptFiles((fileId) => pictures.sharesFile(fileId) || acts.mayPutBack(fileId));
const follower = new Follower(api, pictures, notices);
const reader = new Reader(api, pictures, files);
const sender = new Sender(api, pictures, files, follower);
const estimator = new Estimator(api, pictures, files);
const settings = new Settings(sessionStorage);
const stage = new Stage(isCalm);
const show = new Show({ api, pictures, files, stage, isCalm, notices });
const acts = new Acts({ api, pictures, files, reader, sender, settings, stage, show, notices });
const intake = new Intake(addFiles, addUrl);
const rows = new Rows(pictures, acts);
const bar = new Bar(pictures, acts);
const service = new Service(api);

const start = button({ text: t("start.one"), kind: "primary start", press: acts.startAll });
const total = h("p", { class: "total" });
const zip = button({ icon: "zip", text: t("rows.zip"), press: acts.downloadAll });
const clear = button({ icon: "trash", label: t("rows.clear"), press: acts.clear });
const compose = h("div", { class: "compose" }, settings.element, start);
const side = h(
  "aside",
  { class: "side", "aria-label": t("rows.label") },
  intake.buttons,
  rows.element,
  h("div", { class: "side-foot" }, total, zip, clear),
);
const bottom = h("div", { class: "bottom" }, bar.element, compose);
const bench = h("div", { class: "bench" }, side, stage.element, bottom);

const shortcuts = makeShortcuts();
const keys = button({ icon: "help", label: t("keys.title"), kind: "tool help", popovertarget: "shortcuts" });
stage.tools.add(button({ icon: "compare", label: t("region.open"), kind: "tool", press: acts.compareRegion }));
stage.tools.element.append(h("div", { class: "tool-group help-group" }, keys));
document.querySelector(".top").append(service.button);
document.body.append(
  h("main", {}, intake.hero, bench),
  ...intake.elements,
  service.panel,
  shortcuts,
  ...notices.elements,
);

settings.addEventListener("change", () => {
  estimator.setOptions(settings.problem ? null : settings.options);
  arrangeSoon();
});
api.addEventListener("connection", () => notices.hold(api.isConnected ? "" : t("connection.lost")));
addEventListener("keydown", moveSelection);
addEventListener("keydown", useShortcut);
keepSteady(bottom);
openAbove(bottom, [settings.panel, bar.report, shortcuts]);

let isAsked = false;
for (const type of ["change", "select"]) pictures.addEventListener(type, arrangeSoon);

setInterval(() => {
  if (pictures.inPhase("running").length) pictures.dispatchEvent(new Event("tick"));
}, TICK_MS);

for (const picture of pictures.restore()) follower.resume(picture, { reader, sender });
service.run(() => pictures.inPhase("sending", "queued", "running").length > 0);
ask("openapi.json", (document) => settings.setDocument(document));
ask("v1/models", ({ models }) => settings.setModels(models));
ask("health", (health) => {
  intake.setLimits(t("intake.limits", limitsOf(health)));
  reader.setLargest(health.max_file_size_mb * 1_048_576);
});
arrange();
document.querySelector(".unstarted").remove();

/** Ask for something that the page can do without, and take it when it comes. */
async function ask(path, take) {
  try {
    take(await api.json(path));
  } catch (error) {
    if (error instanceof KeyNeeded) {
      api.addEventListener("resume", () => ask(path, take), { once: true });
      return;
    }
    if (error instanceof ApiError && error.status !== 503) throw error;
    setTimeout(() => ask(path, take), RETRY_MS);
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
  api.remind();
  const ids = added.map((file) => {
    const name = file.webkitRelativePath || file.name;
    const { id, fileId } = pictures.add({ name, bytes: file.size, type: file.type });
    files.put(fileId, file);
    reader.read(id);
    return id;
  });
  pictures.select(ids[0]);
}

function addUrl(url) {
  api.remind();
  const { pathname, hostname } = new URL(url);
  const { id } = pictures.add({ name: pathname.split("/").pop() || hostname, url });
  reader.read(id);
  pictures.select(id);
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

/** Keys of the viewer work wherever they mean nothing else. */
function useShortcut(event) {
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !isForItself(event)) notices.undo();
  if (bench.hidden || event.target === stage.element || isForItself(event)) return;
  if (event.key === "?") shortcuts.togglePopover();
  else stage.key(event);
}

function arrangeSoon() {
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
  // What had the focus went with the last picture.
  if (!all.length && document.activeElement === document.body) intake.hero.querySelector("button").focus();
  const ready = pictures.inPhase("ready").filter((picture) => !picture.estimate?.problem);
  compose.hidden = !pictures.inPhase("ready", "reading").length;
  settings.setHasAnimations(pictures.inPhase("ready").some((picture) => picture.isAnimation));
  start.disabled = !ready.length || Boolean(settings.problem);
  setText(start.querySelector("span"), startText(ready));
  const done = pictures.inPhase("succeeded").length;
  setText(total, t("rows.total", { n: all.length, done }));
  zip.hidden = done < 2;
}

function startText(ready) {
  if (settings.problem) return settings.problem;
  const seconds = secondsOfAll(ready.map(({ estimate }) => estimate));
  const output = ready.length === 1 && ready[0].estimate?.output;
  return [
    ready.length > 1 ? t("start.many", { n: ready.length }) : t("start.one"),
    output && formatSize(output),
    seconds && formatExpected(seconds),
  ]
    .filter(Boolean)
    .join(" · ");
}
