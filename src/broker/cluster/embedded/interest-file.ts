/**
 * What a broker must know again after it was killed: what is asked, and from
 * which position each node's frames hold for it. JSON, replaced as a whole.
 *
 * A file that is damaged costs work, never events: without it nobody knows for
 * which predicates the log is complete, so that what is resumed is taken from
 * the recorders.
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
  /** Predicate id to the position after which its matches are in the log. */
  readonly holds: ReadonlyMap<bigint, Position>;
  /** Milliseconds since 1970. Of a connected one, the latest at which it may be seen before this is saved again. */
  readonly seenMs: number;
  readonly connected: boolean;
  /** A frame of it became durable, ever. */
  readonly delivered: boolean;
  /** The address it came from. */
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
/** What is thrown refuses the whole. */
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
      // A broker of before these were saved: it is as if the node had been connected until now.
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
   * Nothing was saved yet: an empty state. Likewise when the file cannot be
   * understood: it is put aside, and `warn` is told what follows.
   */
  load(warn: (message: string) => void): SavedState {
    try {
      const { generation, claims, nodes } = schema.parse(
        JSON.parse(readBoundedFile(this.file, STATE_BYTES_MAX).toString('utf8')),
      );
      return { generation, claims, nodes: nodes.map((node) => ({ ...node, holds: new Map(node.holds.map(holdOf)) })) };
    } catch (cause) {
      const code = systemErrorCode(cause);
      if (code !== 'ENOENT') warn(this.damaged(code));
      return NOTHING;
    }
  }

  /** Resolves when it is durable. */
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

  private damaged(code: string | undefined): string {
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
