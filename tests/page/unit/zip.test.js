import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { crc32, distinctNames, zipParts } from "../../../src/enlarger/page/static/workers/zip.js";

const bytesOf = (text) => new TextEncoder().encode(text);

test("the checksum is that of the standard's own example, also piece by piece", () => {
  assert.equal(crc32(bytesOf("123456789")), 0xcbf43926);
  assert.equal(crc32(bytesOf("56789"), crc32(bytesOf("1234"))), 0xcbf43926);
});

test("another program reads the file", async () => {
  const entries = ["a.txt", "ü/文.txt"].map((name, index) => {
    const bytes = bytesOf(`content ${index}`.repeat(index * 5000));
    return { name, blob: new Blob([bytes]), size: bytes.length, crc: crc32(bytes) };
  });
  const blob = new Blob(zipParts(entries, new Date(2026, 10, 29, 12, 30)));
  const path = join(mkdtempSync(join(tmpdir(), "zip-")), "made.zip");
  writeFileSync(path, new Uint8Array(await blob.arrayBuffer()));
  const program =
    "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print('|'.join(f'{i.filename} {i.file_size} {i.date_time[0]}' for i in z.infolist()))";
  const told = execFileSync("python3", ["-c", program, path], {
    encoding: "utf8",
    env: { PYTHONUTF8: "1", ...process.env },
  });
  assert.equal(told.trim(), "a.txt 0 2026|ü/文.txt 45000 2026");
});

test("names are distinct, and safe on any file system", () => {
  assert.deepEqual(distinctNames(["a.png", "A.png", "a.png", "x/y:z.png", "b", "a\u202Egnp.exe"]), [
    "a.png",
    "A-2.png",
    "a-3.png",
    "x_y_z.png",
    "b",
    "a_gnp.exe",
  ]);
});
