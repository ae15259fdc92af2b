/**
 * Tries probes in an instance of their own that sees this thread only: those of all operations at once, each in the
 * first of its functions that the kernel takes; does every operation, and keeps the probes that told its paths. Those
 * that did not are tried in their next function, in another round.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callEvent, pathEvent } from '../../../subscriptions/pushdown/catalogue.js';
import { define, undefine } from '../probe/definitions.js';
import { put } from '../tracefs/put.js';
import { eventsOf, type PathPoint } from './path-points.js';

const BUFFER_KB_PER_CPU = '64';

/** A point that is not proved yet, and where it was not tried yet. */
interface Trial {
  readonly point: PathPoint;
  readonly functions: string[];
  place: string;
}

export class PathProof {
  /** Operations of those that do not hold, and why. */
  readonly refused = new Map<string, string>();
  readonly #tracefs: string;
  readonly #instance: string;
  readonly #group: string;
  readonly #registers: readonly string[];

  constructor(tracefs: string, instance: string, group: string, registers: readonly string[]) {
    this.#tracefs = tracefs;
    this.#instance = instance;
    this.#group = group;
    this.#registers = registers;
  }

  /**
   * Returns those that hold, and leaves them defined, and off. The kernel may have a function that another one no longer
   * calls.
   */
  prove(points: readonly PathPoint[]): readonly PathPoint[] {
    put(join(this.#instance, 'buffer_size_kb'), BUFFER_KB_PER_CPU);
    put(join(this.#instance, 'set_event_pid'), String(process.pid));
    const proved: PathPoint[] = [];
    let open: readonly Trial[] = points.map((point) => ({ point, functions: [...point.functions], place: '' }));
    for (;;) {
      open = open.filter((trial) => this.#defineNext(trial));
      if (open.length === 0) return proved;
      const told = this.#told(open.map(({ point }) => point));
      proved.push(...told);
      for (const { operation } of told) this.refused.delete(operation);
      open = open.filter(({ point }) => !told.includes(point));
      for (const { point, place } of open) {
        this.refused.set(point.operation, `${place} did not tell it`);
        this.#undefine(point);
      }
    }
  }

  /** False where the kernel takes none that is left. */
  #defineNext(trial: Trial): boolean {
    for (;;) {
      const place = trial.functions.shift();
      if (place === undefined) return false;
      try {
        this.#define(trial.point, place);
        trial.place = place;
        return true;
      } catch (cause) {
        this.refused.set(trial.point.operation, `${place}: ${(cause as Error).message}`);
        this.#undefine(trial.point);
      }
    }
  }

  /** Of two probes in one place the kernel runs the later first: the paths are to stand before their call. */
  #define({ operation, paths, call }: PathPoint, place: string): void {
    if (call) define(this.#tracefs, `${this.#group}/${callEvent(operation)}`, place, call(this.#registers));
    define(this.#tracefs, `${this.#group}/${pathEvent(operation)}`, place, paths(this.#registers));
  }

  #undefine(point: PathPoint): void {
    for (const event of eventsOf(this.#group, point)) undefine(this.#tracefs, event);
  }

  #told(points: readonly PathPoint[]): readonly PathPoint[] {
    const switches = points
      .flatMap((point) => eventsOf(this.#group, point))
      .map((event) => join(this.#instance, 'events', event, 'enable'));
    let used: Readonly<Record<string, readonly string[]>>;
    try {
      for (const path of switches) put(path, '1');
      used = useEach();
    } finally {
      for (const path of switches) put(path, '0');
    }
    const lines = readFileSync(join(this.#instance, 'trace'), 'utf8').split('\n');
    return points.filter(({ operation, call }) => {
      const paths = used[operation];
      if (paths === undefined) return false;
      const found = lines.findIndex(
        (line) => line.includes(`: ${pathEvent(operation)}: `) && paths.every((path) => line.includes(`="${path}"`)),
      );
      const next = lines[found + 1] ?? '';
      return found >= 0 && (call === undefined || next.includes(`: ${callEvent(operation)}: `));
    });
  }
}

/** Does each operation once, in the calling thread, with names that nobody else has; returns the paths of each. */
function useEach(): Readonly<Record<string, readonly string[]>> {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-paths-'));
  try {
    const at = (what: string) => join(folder, `${what}-${randomBytes(4).toString('hex')}`);
    const [made, file, linked, moved, target, symbolic] = [at('d'), at('f'), at('l'), at('m'), at('t'), at('s')];
    mkdirSync(made);
    closeSync(openSync(file, 'w'));
    linkSync(file, linked);
    symlinkSync(target, symbolic);
    renameSync(linked, moved);
    unlinkSync(moved);
    rmdirSync(made);
    return {
      open: [file],
      unlink: [moved],
      rmdir: [made],
      rename: [linked, moved],
      mkdir: [made],
      link: [file, linked],
      symlink: [target, symbolic],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
