// Takes results out of the page: as a file, or to the clipboard.

import { h } from "./dom.js";
import { safeName } from "./workers/zip.js";

/** What the clipboard of a browser takes. */
const COPIED = "image/png";

/** The name of a result: the picture's own, with its scale and the suffix of its format. */
export function resultName(picture) {
  const stem = picture.name.replace(/\.[^.]*$/, "") || "picture";
  const suffix =
    { "image/jpeg": "jpg", "image/tiff": "tif" }[picture.job.result.media_type] ??
    picture.job.result.media_type.split("/")[1];
  const scale = Math.round(picture.job.result.scale * 100) / 100;
  return `${stem}-${scale}x.${suffix}`;
}

/**
 * Put a picture on the clipboard, which takes PNG alone.
 *
 * @param {() => Promise<Blob>} fetchBlob fetches the picture, or a preview of one that no browser shows
 */
export async function copyPicture(fetchBlob) {
  const asPng = async () => {
    const blob = await fetchBlob();
    if (blob.type === COPIED) return blob;
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return canvas.convertToBlob({ type: COPIED });
  };
  // A promise, since Safari allows this only at once after the click.
  await navigator.clipboard.write([new ClipboardItem({ [COPIED]: asPng() })]);
}

/** Have the browser save a file. */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: safeName(name) });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
