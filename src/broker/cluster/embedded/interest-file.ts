/**
 * The state that a broker needs after it was killed: the claims, and from which
 * position each node's frames are complete for them. A JSON file that is
 * replaced as a whole.
 *
 * A damaged file costs work but no events: without it the broker does not know
 * for which predicates the log is complete, so resumed subscriptions are served
 * from the recorders.
 */
import path from 'node:path';
import * as z from 'zod';
import { STATE_BYTES_MAX } from '../../../limits.js';
import { readBoundedFile } from '../../../storage/bounded-file.js';
import { nodeFileOps, systemErrorCode, writeSmallFile } from '../../../storage/file-ops.js';
import { checkName } from '../../../subscriptions/request/names.js';
import { compileNodeGlobs } from '../../../subscriptions/request/node-globs.js';
import type { Position } from '../../../wire/position.js';
import type { SavedClaim } from '../../nodes/interest-book.js';
import { putAside } from './put-aside.js';

export interface SavedNode {
  readonly name: string;
  readonly recorderId: string;
  readonly epoch: number;
  /** Predicate id to the position after which all its matches are in the log. */
  readonly holds: ReadonlyMap<bigint, Position>;
  /** Milliseconds since 1970. For a connected node, a time in the future: the latest before the next save. */
  readonly seenMs: number;
  readonly connected: boolean;
  /** At least one frame of the node became durable. */
  readonly delivered: boolean;
  /** Address of its latest connection, without the port. */
  readonly peer: string;
}

export interface SavedState {
  readonly generation: number;
  readonly claims: readonly SavedClaim[];
  readonly nodes: readonly SavedNode[];
}

const NOTHING: SavedState = { generation: 0, claims: [], nodes: [] };

const u64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt)
  .refine((value) => value < 1n << 64n);
const whole = z.number().int().nonnegative();
const hold = z.tuple([u64, whole, u64, whole.max(0xffff), whole.max(0xffff_ffff)]);
/** compileNodeGlobs throws for invalid globs, and then the whole file is refused. */
const globs = z.array(z.string()).refine((texts) => compileNodeGlobs(texts));
const nodeName = z.string().refine((name) => checkName('name', name) === name);
const schema = z.object({
  version: z.literal(1),
  generation: whole,
  claims: z.array(
    z.object({
      id: u64,
      topics: z.array(z.string()),
      filter: z.string(),
      includeSelf: z.boolean(),
      fields: z.array(z.string()).default([]),
      globs,
    }),
  ),
  nodes: z.array(
    z.object({
      name: nodeName,
      recorderId: z.string(),
      epoch: whole,
      holds: z.array(hold),
      // Older brokers did not save these fields. The defaults treat the node as connected until now.
      seenMs: whole.default(() => Date.now()),
      connected: z.boolean().default(true),
      delivered: z.boolean().default(true),
      peer: z.string().default(''),
    }),
  ),
});

export class InterestFile {
  readonly file: string;

  constructor(dir: string) {
    this.file = path.join(dir, 'interest.json');
  }

  /**
   * Returns an empty state when nothing was saved yet. Does the same when the file
   * cannot be parsed: it is put aside, and `warn` is called with the consequence.
   */
  load(warn: (message: string) => void): SavedState {
    try {
      const { generation, claims, nodes } = schema.parse(
        JSON.parse(readBoundedFile(this.file, STATE_BYTES_MAX).toString('utf8')),
      );
      return { generation, claims, nodes: nodes.map((node) => ({ ...node, holds: new Map(node.holds.map(holdOf)) })) };
    } catch (cause) {
      const code = systemErrorCode(cause);
      if (code !== 'ENOENT') warn(this.#damaged(code));
      return NOTHING;
    }
  }

  /** Resolves when the file is durable; rejects with the system's error. */
  async save(state: SavedState): Promise<void> {
    const text = JSON.stringify({
      version: 1,
      generation: state.generation,
      claims: state.claims.map((claim) => ({ ...claim, id: claim.id.toString() })),
      nodes: state.nodes.map(({ holds, ...node }) => ({
        ...node,
        holds: [...holds].map(([id, p]) => [id.toString(), p.epoch, p.timeNs.toString(), p.lane, p.tie]),
      })),
    });
    writeSmallFile(nodeFileOps, this.file, Buffer.from(text), true);
    nodeFileOps.syncDirectoryNow(path.dirname(this.file));
  }

  #damaged(code: string | undefined): string {
    return (
      `${this.file} is damaged (${code ?? 'not what a broker writes'}): ${putAside(this.file)}. The broker starts without it: nodes are ` +
      'asked anew, what nobody asks for again is no longer asked of them, and subscriptions that resume take from ' +
      'the recorders what the log may lack; their cursors stay valid'
    );
  }
}

function holdOf([id, epoch, timeNs, lane, tie]: z.output<typeof hold>): [bigint, Position] {
  return [id, { epoch, timeNs, lane, tie }];
}
