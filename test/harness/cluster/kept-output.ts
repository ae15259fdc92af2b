/** What the processes of a run say, kept in files for whoever has to explain the run: `npm run soak -- --keep DIR`. */
import { copyFileSync, existsSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

let into: string | undefined;
const open = new Map<string, number>();

/** From now on; what another run left there goes. */
export function keepOutputIn(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  open.clear();
  into = dir;
}

/** Adds to the file of that name, if anything is kept. */
export function keepOutput(name: string, text: string): void {
  if (into === undefined) return;
  const file = open.get(name) ?? openSync(join(into, name), 'a');
  open.set(name, file);
  writeSync(file, text);
}

/** A copy of a file that is about to go. */
export function keepFile(name: string, file: string): void {
  if (into !== undefined && existsSync(file)) copyFileSync(file, join(into, name));
}
