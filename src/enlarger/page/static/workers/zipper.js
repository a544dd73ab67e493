// Makes a ZIP file off the page's own thread. The files stay where the browser keeps them.

import { crc32, distinctNames, MOST_BYTES, zipParts } from "./zip.js";

self.addEventListener("message", async ({ data: { call, files } }) => {
  try {
    self.postMessage({ call, result: await zipped(files) });
  } catch (error) {
    self.postMessage({ call, problem: String(error?.message ?? error) });
  }
});

async function zipped(files) {
  if (files.reduce((sum, { blob }) => sum + blob.size + 256, 0) > MOST_BYTES) throw new Error("over 4 GB");
  const names = distinctNames(files.map(({ name }) => name));
  const entries = [];
  for (const [index, { blob }] of files.entries()) {
    entries.push({ name: names[index], blob, size: blob.size, crc: await crcOf(blob) });
  }
  return new Blob(zipParts(entries, new Date()), { type: "application/zip" });
}

async function crcOf(blob) {
  let crc = 0;
  for await (const chunk of blob.stream()) crc = crc32(chunk, crc);
  return crc;
}
