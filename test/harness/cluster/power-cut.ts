/** The disk of a process: what of it outlives a power cut. See power-journal.ts for the model. */
import {
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Random } from '../../fault/schedule.js';
import { type Meaning, PowerState, SECTOR_BYTES } from './power-journal.js';

const PRELOAD = fileURLToPath(new URL('./power-preload.js', import.meta.url));

export class Disk {
  readonly #journalDir: string;

  /**
   * @param root absolute; what is in it is rolled back, itself it stays
   * @param journalDir not in it; made when it is needed
   */
  constructor(
    readonly root: string,
    journalDir: string,
  ) {
    this.#journalDir = journalDir;
  }

  /** For every process that writes there: of Node's options, and of the environment. */
  get nodeOption(): string {
    return `--import=${PRELOAD}`;
  }

  get env(): NodeJS.ProcessEnv {
    return { FAULT_DISK: this.root, FAULT_JOURNAL: this.#journalDir };
  }

  /** Whatever is there now is durable. Nobody writes. */
  settle(): void {
    rmSync(this.#journalDir, { recursive: true, force: true });
  }

  /** Cuts the power, when nobody writes any more. Returns a description of the losses. */
  cutPower(random: Random): string[] {
    const state = PowerState.read(this.#journalDir);
    const told: string[] = [];
    // Parents first: what is in a directory that is not there any more is not either.
    for (const [path, meanings] of [...state.names].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const at = random.between(0, meanings.length);
      const was = meanings[at]?.was;
      if (was === undefined || !existsSync(join(path, '..'))) continue;
      told.push(`${this.#name(path)} is ${was.kind === 'nothing' ? 'not there' : 'the one before'}`);
      this.#restore(state, path, was);
    }
    for (const [path, { inode }] of state.files) {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined || (inode !== undefined && stat.ino !== inode)) continue;
      const lost = roll(path, state, random);
      if (lost !== '') told.push(`${this.#name(path)}: ${lost}`);
    }
    this.settle();
    return told;
  }

  #name(path: string): string {
    return relative(this.root, path);
  }

  #restore({ files }: PowerState, path: string, was: Meaning): void {
    rmSync(path, { recursive: true, force: true });
    files.delete(path);
    if (was.kind === 'link') symlinkSync(was.target, path);
    else if (was.kind === 'file') {
      copyFileSync(join(this.#journalDir, was.copy), path);
      const { synced, cuts } = was;
      files.set(path, { synced, cuts });
    }
  }
}

/** Returns what was done to the file; empty: nothing. */
function roll(path: string, state: PowerState, random: Random): string {
  const { synced, cuts } = state.files.get(path)!;
  const before = cuts.length > 0 && random.between(0, 1) === 0;
  const fd = openSync(path, 'r+');
  try {
    for (const { at, base64 } of before ? cuts.toReversed() : []) {
      ftruncateSync(fd, at);
      writeSync(fd, Buffer.from(base64, 'base64'), 0, undefined, at);
    }
  } finally {
    closeSync(fd);
  }
  const { size } = lstatSync(path);
  const durable = Math.min(size, before ? synced : state.durable(path));
  const cutting = before ? `not cut to ${cuts[0]!.at} bytes; ` : '';
  if (durable === size) return cutting;
  const part = random.between(durable, size);
  const zeros = random.between(0, 1) === 0;
  const kept = random.pick([
    durable,
    zeros ? Math.min(size, Math.ceil(part / SECTOR_BYTES) * SECTOR_BYTES) : part,
    size,
  ]);
  truncateSync(path, kept);
  if (zeros) truncateSync(path, size);
  return `${cutting}${kept} of ${size} bytes, ${durable} synced${zeros ? ', the rest zeros' : ''}`;
}
