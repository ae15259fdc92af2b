/**
 * The subjects of a partition's stream, below `bp.CLUSTER.PARTITION.`:
 *
 *   f.TOPIC.NODE   a frame, with what it covers in its headers; the body is the frame as the node sent it
 *   c              a part of a checkpoint: how far the frames of all nodes reach
 *   n              a note that cursors name
 *   t.BROKER       a tick, with what its nodes' silence says (silences.ts)
 *
 * The last sequence of a frame's subject is where its node's next frame of the topic is appended.
 */
export type LoggedSubject =
  | { readonly kind: 'frame'; readonly topic: string; readonly node: string }
  | { readonly kind: 'checkpoint' | 'note' | 'tick' | 'other' };

const KINDS = new Map([
  ['c', 'checkpoint'],
  ['n', 'note'],
  ['t', 'tick'],
] as const) as ReadonlyMap<string | undefined, 'checkpoint' | 'note' | 'tick'>;

export function partitionStream(cluster: string, partition: number): string {
  return `BP_${cluster}_${partition}`;
}

export class PartitionSubjects {
  readonly checkpoint: string;
  readonly note: string;
  readonly all: string;
  readonly #prefix: string;

  constructor(cluster: string, partition: number) {
    this.#prefix = `bp.${cluster}.${partition}.`;
    this.all = `${this.#prefix}>`;
    this.checkpoint = `${this.#prefix}c`;
    this.note = `${this.#prefix}n`;
  }

  tick(broker: string): string {
    return `${this.#prefix}t.${broker}`;
  }

  frame(topic: string, node: string): string {
    return `${this.#prefix}f.${topic}.${escaped(node)}`;
  }

  /** Matches the frames of a topic, of all nodes. */
  topic(topic: string): string {
    return `${this.#prefix}f.${topic}.*`;
  }

  read(subject: string): LoggedSubject {
    const [kind, topic, node] = subject.slice(this.#prefix.length).split('.');
    if (kind === 'f' && topic !== undefined && node !== undefined) {
      return { kind: 'frame', topic, node: node.replaceAll('%2E', '.') };
    }
    return { kind: KINDS.get(kind) ?? 'other' };
  }
}

/** Names of nodes consist of letters, digits, `_`, `-` and dots (see names.ts); a dot would end the token. */
function escaped(node: string): string {
  return node.replaceAll('.', '%2E');
}
