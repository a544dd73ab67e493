// Counts the frames of a file by its structure, without decoding them.

const textAt = (bytes, at) => String.fromCharCode(...bytes.subarray(at, at + 4));

/**
 * Frames of a picture.
 *
 * @param {Uint8Array} bytes of the file
 * @returns {number|null} 1: no animation, or a format that has none; null: an animation of frames that are not counted
 */
export function framesIn(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (textAt(bytes, 0) === "GIF8") return Math.max(1, framesOfGif(bytes, view));
    if (textAt(bytes, 0) === "\x89PNG") return Math.max(1, framesOfPng(bytes, view));
    if (textAt(bytes, 0) === "RIFF" && textAt(bytes, 8) === "WEBP") return Math.max(1, framesOfWebp(bytes, view));
    if (textAt(bytes, 4) === "ftyp" && textAt(bytes, 8) === "avis") return null;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the file is cut short
  }
  return 1;
}

/** GIF 89a, sections 17 to 23. What is cut short has the frames that begin before its end. */
function framesOfGif(bytes, view) {
  const colours = (flags) => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  let at = 13 + colours(view.getUint8(10));
  let frames = 0;
  while (at < bytes.length) {
    const kind = bytes[at];
    if (kind === 0x2c && at + 9 < bytes.length) {
      frames++;
      at += 11 + colours(bytes[at + 9]);
    } else if (kind === 0x21) at += 2;
    else break;
    while (at < bytes.length && bytes[at]) at += bytes[at] + 1;
    at++;
  }
  return frames;
}

/** The PNG specification's section 11.3.6: acTL stands before the pixels. */
function framesOfPng(bytes, view) {
  for (let at = 8; textAt(bytes, at + 4) !== "IDAT"; at += 12 + view.getUint32(at)) {
    if (textAt(bytes, at + 4) === "acTL") return view.getUint32(at + 8);
  }
  return 1;
}

/** The container of WebP: chunks of even length, one ANMF for each frame. */
function framesOfWebp(bytes, view) {
  let frames = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    if (textAt(bytes, at) === "ANMF") frames++;
    const length = view.getUint32(at + 4, true);
    at += 8 + length + (length % 2);
  }
  return frames;
}
