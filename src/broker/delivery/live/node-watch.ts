/**
 * The nodes of one subscription as its subscriber knows them: which have changed
 * since they were last looked at, and which changes the subscriber must be told.
 */
import type { Signal } from '../../../flow/signal.js';
import type { SubscribeResponse } from '../../../wire/messages.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { NodeTold, NodeView } from '../cursor/node-view.js';

export interface ChangedNode {
  readonly node: string;
  /** Tells the changed state; undefined when the subscriber knows the state already. */
  readonly status: SubscribeResponse | undefined;
}

/** Most nodes are in one of these states, to each of many subscribers. */
const CONNECTED: NodeTold = { connected: true, degraded: '' };
const GONE: NodeTold = { connected: false, degraded: '' };

/** Watches from its construction until close(). */
export class NodeWatch {
  readonly #changed = new Set<string>();
  /** Of nodes that have no view: the others' views have it. */
  readonly #told = new Map<string, NodeTold>();
  readonly #unlisten: () => void;

  readonly #registry: NodeRegistry;
  readonly #matches: (node: string) => boolean;
  readonly #wake: Signal;
  readonly #viewOf: (node: string) => NodeView | undefined;

  /**
   * @param predicateIds whose acknowledgement by a node counts as a change of it
   * @param wake is notified when a node has changed
   * @param viewOf a node's view in the subscription's position
   */
  constructor(
    registry: NodeRegistry,
    matches: (node: string) => boolean,
    predicateIds: readonly bigint[],
    wake: Signal,
    viewOf: (node: string) => NodeView | undefined,
  ) {
    this.#viewOf = viewOf;
    this.#registry = registry;
    this.#matches = matches;
    this.#wake = wake;
    this.#unlisten = registry.listen((node, acknowledged) => {
      if (acknowledged === undefined || predicateIds.some((id) => acknowledged.has(id))) this.changed(node);
    });
  }

  close(): void {
    this.#unlisten();
  }

  /** Notes that the node connected, disconnected or acknowledged, or must be asked again. */
  changed(node: string): void {
    if (!this.#matches(node)) return;
    this.#changed.add(node);
    this.#wake.notify();
  }

  /** Notes a node that is named in the `accepted` message. */
  named(node: string, connected: boolean): void {
    this.#tell(node, connected ? CONNECTED : GONE);
  }

  /** Each changed node once, also those that change meanwhile. A status that is returned counts as told. */
  *takeChanged(): Generator<ChangedNode, void, undefined> {
    for (const node of this.#changed) {
      this.#changed.delete(node);
      yield { node, status: this.#takeStatus(node) };
    }
  }

  #takeStatus(node: string): SubscribeResponse | undefined {
    const record = this.#registry.record(node);
    const told = this.#viewOf(node)?.told ?? this.#told.get(node) ?? GONE;
    const connected = record?.connection !== undefined;
    const degraded = connected ? (record?.degraded ?? '') : told.degraded;
    if (connected === told.connected && degraded === told.degraded) return undefined;
    this.#tell(node, connected && degraded === '' ? CONNECTED : { connected, degraded });
    const state = !connected ? 'NODE_STATE_GONE' : degraded ? 'NODE_STATE_DEGRADED' : 'NODE_STATE_CONNECTED';
    return { nodeStatus: { node, state, message: connected ? degraded : 'the connection was lost' } };
  }

  #tell(node: string, told: NodeTold): void {
    const view = this.#viewOf(node);
    if (view === undefined) this.#told.set(node, told);
    else {
      view.told = told;
      this.#told.delete(node);
    }
  }
}
