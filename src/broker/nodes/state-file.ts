/**
 * What a broker must know again after it was killed: what is asked, and from
 * which position each node's frames hold for it. JSON, replaced as a whole.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { BackplaneError } from '../../errors.js';
import type { Position } from '../../wire/position.js';
import type { SavedClaim } from './interest-book.js';

export interface SavedNode {
  readonly name: string;
  readonly recorderId: string;
  readonly epoch: number;
  /** Predicate id to the position after which its matches are in the log. */
  readonly holds: ReadonlyMap<bigint, Position>;
}

export interface SavedState {
  readonly generation: number;
  readonly claims: readonly SavedClaim[];
  readonly nodes: readonly SavedNode[];
}

const u64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt);
const whole = z.number().int().nonnegative();
const hold = z.tuple([u64, whole, u64, whole, whole]);
const schema = z.object({
  version: z.literal(1),
  generation: whole,
  claims: z.array(
    z.object({
      id: u64,
      topics: z.array(z.string()),
      filter: z.string(),
      includeSelf: z.boolean(),
      globs: z.array(z.string()),
    }),
  ),
  nodes: z.array(z.object({ name: z.string(), recorderId: z.string(), epoch: whole, holds: z.array(hold) })),
});

export class StateFile {
  private readonly file: string;

  constructor(dir: string) {
    this.file = path.join(dir, 'interest.json');
  }

  /** Nothing was saved yet: an empty state. Throws damaged when the file cannot be understood. */
  load(): SavedState {
    let text: string;
    try {
      text = readFileSync(this.file, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { generation: 0, claims: [], nodes: [] };
      throw cause;
    }
    try {
      const { generation, claims, nodes } = schema.parse(JSON.parse(text));
      return { generation, claims, nodes: nodes.map((node) => ({ ...node, holds: new Map(node.holds.map(holdOf)) })) };
    } catch {
      throw new BackplaneError('damaged', `${this.file} cannot be read: remove it, and nodes are asked anew`);
    }
  }

  /** Durable when it returns. */
  save(state: SavedState): void {
    const text = JSON.stringify({
      version: 1,
      generation: state.generation,
      claims: state.claims.map((claim) => ({ ...claim, id: claim.id.toString() })),
      nodes: state.nodes.map(({ name, recorderId, epoch, holds }) => ({
        name,
        recorderId,
        epoch,
        holds: [...holds].map(([id, p]) => [id.toString(), p.epoch, p.timeNs.toString(), p.lane, p.tie]),
      })),
    });
    const temporary = `${this.file}.new`;
    const descriptor = openSync(temporary, 'w');
    try {
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, this.file);
    const directory = openSync(path.dirname(this.file), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }
}

function holdOf([id, epoch, timeNs, lane, tie]: z.output<typeof hold>): [bigint, Position] {
  return [id, { epoch, timeNs, lane, tie }];
}
