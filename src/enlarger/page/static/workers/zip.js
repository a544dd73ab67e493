// Writes ZIP files whose entries are stored, not compressed: pictures are compressed already. Format: PKWARE's APPNOTE 6.3.10.

const TABLE = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** CRC-32 of bytes, going on from that of earlier ones. */
export function crc32(bytes, before = 0) {
  let value = ~before;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}

/** The most bytes of a file without the Zip64 extension. */
export const MOST_BYTES = 0xffffffff;

const UTF8_NAMES = 0x0800;
const STORED_VERSION = 20;

function headerOf(entry, date, { isCentral, offset = 0 }) {
  const name = new TextEncoder().encode(entry.name);
  const view = new DataView(new ArrayBuffer(isCentral ? 46 : 30));
  let at = 0;
  const write = (value, bytes) => {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  };
  write(isCentral ? 0x02014b50 : 0x04034b50, 4);
  if (isCentral) write(STORED_VERSION, 2);
  write(STORED_VERSION, 2);
  write(UTF8_NAMES, 2);
  write(0, 2);
  write((date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1), 2);
  write(((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate(), 2);
  write(entry.crc, 4);
  write(entry.size, 4);
  write(entry.size, 4);
  write(name.length, 2);
  write(0, 2);
  if (isCentral) {
    write(0, 2);
    write(0, 2);
    write(0, 2);
    write(0, 4);
    write(offset, 4);
  }
  return [new Uint8Array(view.buffer), name];
}

/**
 * The parts of a ZIP file, in order, for a `Blob`.
 *
 * @param {{name: string, blob: Blob, size: number, crc: number}[]} entries
 * @param {Date} date of all entries
 */
export function zipParts(entries, date) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const entry of entries) {
    const [header, name] = headerOf(entry, date, { isCentral: false });
    directory.push(...headerOf(entry, date, { isCentral: true, offset }));
    parts.push(header, name, entry.blob);
    offset += header.length + name.length + entry.size;
  }
  const directoryBytes = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, entries.length, true);
  end.setUint16(10, entries.length, true);
  end.setUint32(12, directoryBytes, true);
  end.setUint32(16, offset, true);
  return [...parts, ...directory, new Uint8Array(end.buffer)];
}

/** Signs that turn the direction of a text, so that `gpj.exe` may be read as `exe.jpg`, and those that file systems refuse. */
const UNSAFE = /[\p{Cc}\p{Bidi_Control}\\/:*?"<>|]/gu;

/** A name that is read as it is, and that no file system refuses. */
export function safeName(name) {
  return name.replace(UNSAFE, "_");
}

/** Names that no two entries share, and that no file system refuses. */
export function distinctNames(names) {
  const used = new Set();
  return names.map((name) => {
    const safe = safeName(name);
    const dot = safe.lastIndexOf(".");
    const [stem, suffix] = dot > 0 ? [safe.slice(0, dot), safe.slice(dot)] : [safe, ""];
    let distinct = safe;
    for (let number = 2; used.has(distinct.toLowerCase()); number++) distinct = `${stem}-${number}${suffix}`;
    used.add(distinct.toLowerCase());
    return distinct;
  });
}
