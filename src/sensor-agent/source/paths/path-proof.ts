/**
 * Tries probes in an instance of their own that sees this thread and what it starts only: those of all operations at once, each in the
 * first of its functions that the kernel takes; does every operation (path-trials.ts), and keeps the probes that told its
 * paths. Those that did not are tried in their next function, in another round.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackplaneError } from '../../../errors.js';
import { callEvent, pathEvent } from '../../../subscriptions/pushdown/catalogue.js';
import { kernelTypes } from '../probe/btf.js';
import { allDefinitions, define, undefine } from '../probe/definitions.js';
import { put } from '../tracefs/put.js';
import { hasPlace, mountedPlace } from './mounted-place.js';
import { eventsOf, type PathPoint } from './path-points.js';
import { type Trials, tryEach } from './path-trials.js';

/** A point that is not proved yet, and where it was not tried yet. */
interface Trial {
  readonly point: PathPoint;
  readonly places: Place[];
  place: Place | undefined;
}

type Place = PathPoint['places'][number];

export class PathProof {
  readonly #tracefs: string;
  readonly #instance: string;
  readonly #group: string;
  readonly #registers: readonly string[];
  readonly #refused: Map<string, string>;
  readonly #proved = new Map<PathPoint, Place>();

  /**
   * @param group that of trials
   * @param refused gets the operations of those that do not hold, and why
   */
  constructor(
    tracefs: string,
    instance: string,
    group: string,
    registers: readonly string[],
    refused: Map<string, string>,
  ) {
    this.#tracefs = tracefs;
    this.#instance = instance;
    this.#group = group;
    this.#registers = registers;
    this.#refused = refused;
  }

  /** Returns those that hold. The kernel may have a function that another one no longer calls. */
  prove(points: readonly PathPoint[]): readonly PathPoint[] {
    // Some are done by programs that it starts.
    put(join(this.#instance, 'options/event-fork'), '1');
    put(join(this.#instance, 'set_event_pid'), String(process.pid));
    let open: readonly Trial[] = points.map((point) => ({ point, places: [...point.places], place: undefined }));
    for (;;) {
      open = open.filter((trial) => this.#defineNext(trial));
      if (open.length === 0) return [...this.#proved.keys()];
      const { told, failed } = this.#tried(open.map(({ point }) => point));
      for (const { point, place } of open) {
        if (told.includes(point)) {
          this.#refused.delete(point.operation);
          this.#proved.set(point, place!);
          continue;
        }
        const why = failed.get(point.operation) ?? `${place!.function} did not tell it`;
        this.#refused.set(point.operation, why);
        this.#undefine(point);
      }
      open = open.filter(({ point }) => !told.includes(point) && !failed.has(point.operation));
    }
  }

  /** Defines proved ones in another group. An agent that was killed may have done so with the first of them. */
  keep(points: readonly PathPoint[], group: string): void {
    const there = allDefinitions(this.#tracefs) ?? [];
    for (const point of points) this.#define(group, point, this.#proved.get(point)!, there);
  }

  /** False where the kernel takes none that is left. */
  #defineNext(trial: Trial): boolean {
    for (;;) {
      const place = trial.places.shift();
      if (place === undefined) return false;
      try {
        this.#define(this.#group, trial.point, place, []);
        trial.place = place;
        return true;
      } catch (cause) {
        this.#refused.set(trial.point.operation, `${place.function}: ${(cause as Error).message}`);
        this.#undefine(trial.point);
      }
    }
  }

  /** Of two probes in one place the kernel runs the later first: the paths are to stand before their call. */
  #define(group: string, { operation }: PathPoint, { function: name, paths, call }: Place, there: string[]): void {
    const [fetchedPaths, fetchedCall] = [paths(this.#registers, kernelTypes), call?.(this.#registers, kernelTypes)];
    if (fetchedPaths === undefined)
      throw new BackplaneError('failed_precondition', 'the kernel does not say where its structures have a path');
    const [callOf, pathOf] = [`${group}/${callEvent(operation)}`, `${group}/${pathEvent(operation)}`];
    if (fetchedCall && !there.includes(callOf)) define(this.#tracefs, callOf, name, fetchedCall);
    if (!there.includes(pathOf)) define(this.#tracefs, pathOf, name, fetchedPaths);
  }

  #undefine(point: PathPoint): void {
    for (const event of eventsOf(this.#group, point)) undefine(this.#tracefs, event);
  }

  /** Those that told their paths, and why some could not be tried. */
  #tried(points: readonly PathPoint[]): { told: readonly PathPoint[]; failed: Trials['failed'] } {
    const switches = points
      .flatMap((point) => eventsOf(this.#group, point))
      .map((event) => join(this.#instance, 'events', event, 'enable'));
    let trials: Trials;
    try {
      for (const path of switches) put(path, '1');
      trials = tryEach(points.map(({ operation }) => operation));
    } finally {
      for (const path of switches) put(path, '0');
    }
    const { used, failed } = trials;
    const lines = readFileSync(join(this.#instance, 'trace'), 'utf8').split('\n');
    const told = points.filter((point) => {
      const { operation } = point;
      const wanted = JSON.stringify(used.get(operation));
      const found = lines.findIndex(
        (line) => line.includes(`: ${pathEvent(operation)}: `) && JSON.stringify(pathsIn(line)) === wanted,
      );
      const next = lines[found + 1] ?? '';
      const alone = eventsOf(this.#group, point).length === 1;
      return found >= 0 && (alone || next.includes(`: ${callEvent(operation)}: `));
    });
    return { told, failed };
  }
}

/** The paths that a line of the kernel's own text has. */
function pathsIn(line: string): readonly (string | undefined)[] {
  const values = Object.fromEntries(
    [...line.matchAll(/ (\w+)=(?:"([^"]*)"|(\d\w*))/g)].map(([, name, text, number]) => [
      name!,
      number === undefined ? text! : BigInt(number),
    ]),
  );
  if (hasPlace(values)) return [mountedPlace(values)?.path];
  return [values['path'], values['new_path']].filter((path) => typeof path === 'string');
}
