/**
 * What containers are, by the id in their cgroups, as the recording says: who made the recording asked the runtimes. It
 * depends only on what was recorded, so that live and replay give an event the same names. What there is no room for
 * goes when a record says so.
 */
import {
  CONTAINERS_BYTES_MAX,
  CONTAINERS_MAX,
  CONTAINERS_PER_RECORD,
  CONTAINERS_SURPLUS_SHARE,
} from '../../../limits/containers.js';
import type { ContainerContext, KubernetesContext } from '../../../wire/event/event.js';
import type { RecordedContainer, RecordedContainers } from '../../recorder/recording.js';

interface Known {
  readonly recorded: RecordedContainer;
  readonly container: ContainerContext;
  readonly k8s: KubernetesContext | undefined;
  readonly bytes: number;
  /** Grows with every use of any. */
  used: number;
}

interface Told {
  readonly container: ContainerContext | undefined;
  readonly k8s: KubernetesContext | undefined;
}

export interface ContainerTableState {
  readonly asked: boolean;
  /** The least used first. */
  readonly containers: readonly RecordedContainer[];
}

const NO_CONTAINER: Told = { container: undefined, k8s: undefined };
/** What one record can add to as many as there may be: only where records are lost, of what is gone, there would be more. */
const ENTRIES_MAX = CONTAINERS_MAX + CONTAINERS_PER_RECORD;

export class ContainerTable {
  /** There is a runtime, so that the first event of an unknown container waits. */
  asked = false;
  readonly #known = new Map<string, Known>();
  #bytes = 0;
  #uses = 0;
  /** Ids that came up and are not known; undefined when nobody asks for them. */
  #unknown: Set<string> | undefined;

  get size(): number {
    return this.#known.size;
  }

  knows(id: string): boolean {
    return this.#known.has(id);
  }

  /** What an event of a process in this container says of it. */
  of(id: string | undefined): Told {
    if (id === undefined) return NO_CONTAINER;
    const known = this.#known.get(id);
    if (known === undefined) return { container: this.asked ? { id, unresolved: true } : { id }, k8s: undefined };
    known.used = ++this.#uses;
    return known;
  }

  /** A process is in this container from here on. */
  seen(id: string | undefined): void {
    if (id !== undefined && this.asked && this.#unknown && !this.#known.has(id)) this.#unknown.add(id);
  }

  /** Begins to note unknown containers. */
  noteUnknown(): void {
    this.#unknown = new Set();
  }

  /** Those that came up since the last call. */
  takeUnknown(): readonly string[] {
    if (!this.#unknown?.size) return [];
    const unknown = [...this.#unknown];
    this.#unknown.clear();
    return unknown;
  }

  take({ asked, containers, gone }: RecordedContainers): void {
    this.asked = asked;
    for (const id of gone) this.#forget(id);
    for (const recorded of containers) this.#set(recorded);
  }

  /** Those used longest ago, which go so that there is room for more; none while there is. */
  surplus(): readonly string[] {
    if (this.#known.size <= CONTAINERS_MAX && this.#bytes <= CONTAINERS_BYTES_MAX) return [];
    const gone: string[] = [];
    const share = 1 - CONTAINERS_SURPLUS_SHARE;
    let bytes = this.#bytes;
    for (const { recorded, bytes: freed } of this.#leastUsedFirst()) {
      if (this.#known.size - gone.length <= CONTAINERS_MAX * share && bytes <= CONTAINERS_BYTES_MAX * share) break;
      gone.push(recorded.id);
      bytes -= freed;
    }
    return gone;
  }

  save(): ContainerTableState {
    return { asked: this.asked, containers: this.#leastUsedFirst().map(({ recorded }) => recorded) };
  }

  load({ asked, containers }: ContainerTableState): void {
    this.#known.clear();
    this.#bytes = 0;
    this.take({ asked, containers, gone: [] });
  }

  #set(recorded: RecordedContainer): void {
    this.#forget(recorded.id);
    if (this.#known.size >= ENTRIES_MAX) this.#forget(this.#known.keys().next().value!);
    const known = { recorded, ...contextOf(recorded), bytes: containerBytes(recorded), used: ++this.#uses };
    this.#known.set(recorded.id, known);
    this.#bytes += known.bytes;
  }

  #forget(id: string): void {
    this.#bytes -= this.#known.get(id)?.bytes ?? 0;
    this.#known.delete(id);
  }

  #leastUsedFirst(): Known[] {
    return [...this.#known.values()].sort((a, b) => a.used - b.used);
  }
}

/** Estimate of what one costs in memory and in a checkpoint. */
export function containerBytes({ id, ...names }: RecordedContainer): number {
  let bytes = 128 + id.length;
  for (const name of Object.values(names)) if (typeof name === 'string') bytes += name.length + 16;
  return bytes;
}

function contextOf(recorded: RecordedContainer): Pick<Known, 'container' | 'k8s'> {
  const { id, name, image, tag, pod, podUid, namespace, unresolved } = recorded;
  if (unresolved) return { container: { id, unresolved: true }, k8s: undefined };
  return {
    container: { id, name, image: image ? { name: image, tags: tag ? [tag] : undefined } : undefined },
    k8s: pod || namespace ? { podName: pod ?? '', podUid, namespaceName: namespace ?? '' } : undefined,
  };
}
