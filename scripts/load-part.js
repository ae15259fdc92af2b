/**
 * Loads a part of the program (bundle.js), with the functions that V8 compiled when the program was built, if this is
 * the same V8. Node does this by itself only from 22 on, and for modules only.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { crc32 } from 'node:zlib';

/** @param name of a file NAME.cjs beside this one. Returns what it exports */
export function load(name) {
  const filename = fileURLToPath(new URL(`./${name}.cjs`, import.meta.url));
  // The bundler writes ASCII: one byte per character, in memory too.
  const code = readFileSync(filename, 'latin1');
  const script = new Script(code, { filename, cachedData: compiled(filename) });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, dirname(filename));
  return module.exports;
}

/**
 * V8 checks by itself that it is of the same code, version and flags; what it refuses it compiles. It believes the rest:
 * what a disk has damaged would crash it.
 *
 *   CompiledFile := what V8 made | its crc32 u32
 */
function compiled(filename) {
  try {
    const file = readFileSync(compiledFile(filename));
    const data = file.subarray(0, -4);
    return crc32(data) === file.readUInt32LE(data.length) ? data : undefined;
  } catch {
    return undefined;
  }
}

/** As compiled() reads it. */
export function withSum(data) {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(data));
  return Buffer.concat([data, sum]);
}

/** Where the functions of a part are: they are of one V8, and of the machine that it compiles for. */
export function compiledFile(filename) {
  return `${filename}.${process.versions.v8}-${process.platform}-${process.arch}`;
}
