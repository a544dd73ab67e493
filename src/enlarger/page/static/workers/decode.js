// Decodes pictures and cuts them into tiles, off the page's own thread.

import { framesIn } from "./frames.js";

/** Types of which some files are animations. */
const ANIMATED = new Set(["image/gif", "image/png", "image/apng", "image/webp", "image/avif"]);

/** By picture: the decoded file. */
const pictures = new Map();

self.addEventListener("message", async ({ data }) => {
  const { call, id } = data;
  try {
    const { result, transfer } = await actions[data.action](data);
    self.postMessage({ call, id, result }, transfer ?? []);
  } catch (error) {
    self.postMessage({ call, id, problem: String(error?.message ?? error) });
  }
});

const actions = {
  async open({ id, blob }) {
    const bitmap = await createImageBitmap(blob);
    pictures.get(id)?.close();
    pictures.set(id, bitmap);
    return { result: { width: bitmap.width, height: bitmap.height } };
  },

  async tile({ id, x, y, width, height, level }) {
    const picture = pictures.get(id);
    if (!picture) throw new Error("closed");
    const reduced = (length) => Math.max(1, Math.round(length / 2 ** level));
    const tile = await createImageBitmap(picture, x, y, width, height, {
      resizeWidth: reduced(width),
      resizeHeight: reduced(height),
      resizeQuality: "medium",
    });
    return { result: tile, transfer: [tile] };
  },

  /** A small picture of a file, the size of the file's own, and its frames. */
  async thumbnail({ blob, side }) {
    const bitmap = await createImageBitmap(blob);
    const { width, height } = bitmap;
    const scale = Math.min(1, side / Math.min(width, height));
    const small = await createImageBitmap(bitmap, {
      resizeWidth: Math.max(1, Math.round(width * scale)),
      resizeHeight: Math.max(1, Math.round(height * scale)),
      resizeQuality: "medium",
    });
    bitmap.close();
    const frames = ANIMATED.has(blob.type) ? framesIn(new Uint8Array(await blob.arrayBuffer())) : 1;
    return { result: { width, height, small, frames }, transfer: [small] };
  },

  async close({ id }) {
    pictures.get(id)?.close();
    pictures.delete(id);
    return { result: null };
  },
};
