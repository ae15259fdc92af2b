/**
 * Loaded into a process before its own code (`--import`): its wall clock is
 * stepped, and its machine seems booted anew, by what the file that
 * FAULT_WORLD names says: {"clockMs": ..., "bootId": ...}.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const LOOK_MS = 100;
const path = process.env.FAULT_WORLD ?? '';
const realNow = Date.now;
const realRead = fs.readFileSync;
let world: { clockMs?: number; bootId?: string } = {};

function look(): void {
  try {
    world = JSON.parse(realRead(path, 'utf8')) as typeof world;
  } catch {
    // Being written at this moment: next time.
  }
}

look();
setInterval(look, LOOK_MS).unref();
Date.now = () => realNow() + (world.clockMs ?? 0);
fs.readFileSync = ((file: fs.PathOrFileDescriptor, ...rest: []) =>
  file === BOOT_ID && world.bootId !== undefined ? world.bootId : realRead(file, ...rest)) as typeof fs.readFileSync;
syncBuiltinESMExports();
