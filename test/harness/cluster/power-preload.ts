/**
 * Loaded into a process before its own code (`--import`): notes in the journal
 * beside FAULT_JOURNAL what a power cut could take of the directory
 * FAULT_DISK. See power-journal.ts. What changes names is noted before
 * it is done, what makes durable after: a kill in between loses nothing.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join, resolve } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { JOURNAL, type Line, type Meaning, PowerState, SECTOR_BYTES } from './power-journal.js';

const KEPT_BYTES_MAX = 1 << 20;

const disk = process.env.FAULT_DISK ?? '';
const journalDir = process.env.FAULT_JOURNAL ?? '';
const real = { ...fs };
const open = new Map<number, string>();
let state: PowerState;
let journal: number;

function note(line: Line): void {
  real.writeSync(journal, `${JSON.stringify(line)}\n`);
  state.apply(line);
}

/** The absolute path, if it is on the disk or its root. */
function onDisk(path: unknown): string | undefined {
  if (typeof path !== 'string') return undefined;
  const whole = resolve(path);
  return `${whole}/`.startsWith(`${disk}/`) ? whole : undefined;
}

function noteNames(path: string): void {
  const was = meaning(path);
  if (was) note({ do: 'named', path, was });
}

/** Undefined where it is too large to be kept. */
function meaning(path: string): Meaning | undefined {
  const stat = real.lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return { kind: 'nothing' };
  if (stat.isSymbolicLink()) return { kind: 'link', target: real.readlinkSync(path) };
  if (!stat.isFile()) throw notModelled('changing the name of a directory');
  if (stat.size > KEPT_BYTES_MAX) return undefined;
  const copy = `kept-${process.pid}-${state.named}`;
  real.copyFileSync(path, join(journalDir, copy));
  return { kind: 'file', copy, ...(state.files.get(path) ?? { synced: stat.size, cuts: [] }) };
}

/** The flags as letters, even if given as a number. */
function modeOf(flags: unknown): unknown {
  if (typeof flags !== 'number') return flags;
  const { O_RDWR, O_WRONLY, O_TRUNC, O_CREAT, O_EXCL, O_APPEND } = real.constants;
  switch (flags & (O_RDWR | O_WRONLY | O_TRUNC | O_CREAT | O_EXCL | O_APPEND)) {
    case 0:
      return 'r';
    case O_RDWR:
      return 'r+';
    case O_RDWR | O_CREAT | O_TRUNC:
      return 'w+';
    default:
      return flags;
  }
}

function noteOpen(path: string, given: unknown): void {
  const flags = modeOf(given);
  if (flags === 'r') return;
  const stat = real.lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    noteNames(path);
    note({ do: 'created', path });
    return;
  }
  const known = state.files.get(path);
  // The file is shorter than its synced length, so somebody else has cut it.
  if (known === undefined || stat.size < state.durable(path)) note({ do: 'found', path, bytes: stat.size });
  if (flags === 'w' || flags === 'w+') noteCut(path, 0);
  else if (flags !== 'r+') throw notModelled(`opening with ${flags}`);
}

function noteCut(path: string, at: number): void {
  if (at >= state.durable(path)) return;
  note({ do: 'cut', path, at, base64: real.readFileSync(path).subarray(at).toString('base64') });
}

/**
 * Before bytes are written at a place; null: where the descriptor stands. Of what is durable only whole sectors may be, or a
 * file within one.
 */
function noteWrite(fd: number, buffers: readonly NodeJS.ArrayBufferView[], position: unknown): void {
  const path = open.get(fd);
  if (path === undefined) return;
  const durable = state.durable(path);
  const below = typeof position === 'number' ? position < durable : durable > 0;
  if (!below) return;
  const bytes = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const isSectors = typeof position === 'number' && position % SECTOR_BYTES === 0 && bytes % SECTOR_BYTES === 0;
  // A small file that is overwritten as a whole is within one sector: it is as before, or as it is now.
  const isAll = position === 0 && bytes <= SECTOR_BYTES && bytes >= real.fstatSync(fd).size;
  if (!isSectors && !isAll) throw notModelled(`overwriting ${path} at ${position}`);
  noteCut(path, position);
}

/** Returns what is to be noted when the sync that begins now has ended. */
function syncOf(fd: number): () => void {
  const path = open.get(fd);
  if (path === undefined) return () => undefined;
  const stat = real.fstatSync(fd);
  if (stat.isDirectory()) {
    const { named } = state;
    return () => note({ do: 'names-synced', dir: path, named });
  }
  const cuts = state.files.get(path)?.cuts.length ?? 0;
  return () => note({ do: 'synced', path, bytes: stat.size, cuts });
}

function notModelled(what: string): Error {
  return new Error(`power-preload: ${what} is not modelled`);
}

function patch(): void {
  fs.openSync = (path, flags, mode) => {
    const whole = onDisk(path);
    if (whole) noteOpen(whole, flags);
    const fd = real.openSync(path, flags, mode);
    if (whole) open.set(fd, whole);
    return fd;
  };
  fs.closeSync = (fd) => {
    open.delete(fd);
    real.closeSync(fd);
  };
  fs.writevSync = (fd, buffers, position) => {
    noteWrite(fd, buffers, position);
    return real.writevSync(fd, buffers, position);
  };
  fs.ftruncateSync = (fd, bytes) => {
    const path = open.get(fd);
    if (path) noteCut(path, bytes ?? 0);
    real.ftruncateSync(fd, bytes);
  };
  fs.renameSync = (from, to) => {
    const [source, target] = [onDisk(from), onDisk(to)];
    if (source && target) {
      noteNames(target);
      noteNames(source);
      note({ do: 'moved', from: source, to: target, inode: real.lstatSync(source).ino });
    }
    real.renameSync(from, to);
  };
  fs.unlinkSync = (path) => {
    const whole = onDisk(path);
    if (whole && real.lstatSync(whole, { throwIfNoEntry: false })) {
      noteNames(whole);
      note({ do: 'unlinked', path: whole });
    }
    real.unlinkSync(path);
  };
  fs.mkdirSync = ((path: fs.PathLike, ...rest: []) => {
    noteNew(path);
    return real.mkdirSync(path, ...rest);
  }) as typeof fs.mkdirSync;
  fs.symlinkSync = (target, path, ...rest) => {
    noteNew(path);
    real.symlinkSync(target, path, ...rest);
  };
}

function noteNew(path: unknown): void {
  const whole = onDisk(path);
  if (whole && whole !== disk && !real.lstatSync(whole, { throwIfNoEntry: false })) noteNames(whole);
}

function patchSyncs(): void {
  for (const name of ['fsyncSync', 'fdatasyncSync'] as const) {
    fs[name] = (fd) => {
      const ended = syncOf(fd);
      real[name](fd);
      ended();
    };
  }
  for (const name of ['fsync', 'fdatasync'] as const) {
    const sync = (fd: number, callback: fs.NoParamCallback) => {
      const ended = syncOf(fd);
      real[name](fd, (error) => {
        if (!error) ended();
        callback(error);
      });
    };
    fs[name] = sync as typeof fs.fsync;
  }
}

/** Operations that the journal does not know throw, so that new uses do not go unnoticed. */
function refuseOthers(): void {
  const verbs = ['appendFile', 'copyFile', 'cp', 'link', 'mkdtemp', 'rm', 'rmdir', 'truncate', 'writeFile'];
  const ofPromises = ['open', 'mkdir', 'rename', 'symlink', 'unlink'];
  const refuse = (api: Record<string, unknown>, name: string) => {
    const does = api[name] as (...given: unknown[]) => unknown;
    api[name] = (...given: unknown[]) => {
      if (given.some(onDisk)) throw notModelled(name);
      return does(...given);
    };
  };
  const sync = fs as unknown as Record<string, unknown>;
  for (const name of [...verbs, ...ofPromises, 'createWriteStream']) refuse(sync, name);
  for (const name of verbs) refuse(sync, `${name}Sync`);
  for (const name of [...verbs, ...ofPromises]) refuse(fs.promises as unknown as Record<string, unknown>, name);
}

if (isMainThread) {
  real.mkdirSync(journalDir, { recursive: true });
  state = PowerState.read(journalDir);
  journal = real.openSync(join(journalDir, JOURNAL), 'a+');
  // Without a line that a kill has cut in half.
  const written = real.readFileSync(journal);
  real.ftruncateSync(journal, written.lastIndexOf('\n') + 1);
  patch();
  patchSyncs();
  refuseOthers();
  syncBuiltinESMExports();
}
