/**
 * How far the nodes of a slice were delivered with each cursor that its member was given and has not committed, by
 * positions: a commit may come when the log has forgotten what the cursor's offsets mean.
 */
import { GROUP_GIVEN_PLACES_MAX } from '../../../limits.js';
import type { CursorNode } from '../../../wire/cursor.js';

/** The nodes that moved between the cursor before and the one with this ordinal. */
interface Step {
  readonly ordinal: number;
  readonly nodes: readonly CursorNode[];
  /** Whether events or a gap came with it. */
  readonly isOpen: boolean;
}

export class GivenPlaces {
  /** By node, as of the last commit. */
  readonly #places = new Map<string, CursorNode>();
  /** Ordinal of the first cursor with a place; undefined before there is one. */
  #from: number | undefined;
  #steps: Step[] = [];
  /** Nodes of all steps. */
  #count = 0;
  readonly #countMax: number;

  /** @param slices of the group, which share what it may remember */
  constructor(slices: number) {
    this.#countMax = Math.floor(GROUP_GIVEN_PLACES_MAX / slices);
  }

  /** Cursors that are remembered. */
  get size(): number {
    return this.#steps.length;
  }

  /** @param moved undefined for a cursor of a replay, which has no offsets that could be forgotten */
  given(ordinal: number, moved: readonly CursorNode[] | undefined, isOpen: boolean): void {
    if (moved === undefined) return;
    if (this.#from === undefined) {
      this.#from = ordinal;
      for (const place of moved) this.#places.set(place.node, place);
      return;
    }
    // No place of its own: there may be any number of them, as documents move no node.
    if (moved.length === 0) {
      if (isOpen) this.#keepLast();
      return;
    }
    // In silence the newest two are enough: who commits has one of them, and misses nothing with an earlier place.
    const [earlier, last] = this.#steps.slice(-2);
    const isSilent = !isOpen && last?.isOpen === false && earlier?.isOpen === false;
    if (isSilent) {
      const both = joined(earlier, last);
      this.#steps.splice(-2, 2, both);
      this.#count += both.nodes.length - earlier.nodes.length - last.nodes.length;
    }
    this.#steps.push({ ordinal, nodes: moved, isOpen });
    this.#count += moved.length;
    if (this.#count > this.#countMax && this.#steps.length > 1) this.#thin();
  }

  /** The place of every node with the cursor of this ordinal; undefined for one of a replay. */
  at(ordinal: number): readonly CursorNode[] | undefined {
    if (this.#from === undefined || ordinal < this.#from) return undefined;
    const places = new Map(this.#places);
    for (const step of this.#steps) {
      if (step.ordinal > ordinal) break;
      for (const place of step.nodes) places.set(place.node, place);
    }
    return [...places.values()];
  }

  /** No earlier cursor than that of the ordinal can be committed any more. */
  committed(ordinal: number): void {
    let done = 0;
    for (const step of this.#steps) {
      if (step.ordinal > ordinal) break;
      for (const place of step.nodes) this.#places.set(place.node, place);
      this.#count -= step.nodes.length;
      done++;
    }
    this.#steps.splice(0, done);
  }

  /** A cursor with something to commit has the place of the last step: it does not become one with later silence. */
  #keepLast(): void {
    const last = this.#steps.at(-1);
    if (last?.isOpen === false) this.#steps[this.#steps.length - 1] = { ...last, isOpen: true };
  }

  /** Pairs become one step: who commits the first of a pair may be given it again, if the log has forgotten it. */
  #thin(): void {
    const half: Step[] = [];
    for (let at = 0; at < this.#steps.length; at += 2) {
      const [one, two] = [this.#steps[at]!, this.#steps[at + 1]];
      half.push(two === undefined ? one : joined(one, two));
    }
    this.#steps = half;
    this.#count = half.reduce((sum, { nodes }) => sum + nodes.length, 0);
  }
}

function joined(one: Step, two: Step): Step {
  const nodes = new Map([...one.nodes, ...two.nodes].map((place) => [place.node, place]));
  return { ordinal: two.ordinal, nodes: [...nodes.values()], isOpen: one.isOpen || two.isOpen };
}
