/**
 * Looks now and then whether the streams of a cluster are still those that the broker began with. Who reads a stream sees
 * that it is gone; that somebody changed it, or made it anew where nobody reads, is seen only by asking.
 */
import type { JetStreamManager } from '@nats-io/jetstream';
import { BackplaneError } from '../../errors.js';
import { NATS_STREAMS_LOOK_MS, READER_LOOKS } from '../../limits.js';
import { fitCluster } from './cluster-streams.js';

export interface StreamWatchOptions {
  readonly manager: JetStreamManager;
  readonly cluster: string;
  /** Of the cluster's streams, as they were at the start. */
  readonly identity: string;
  /** Called once: the broker cannot go on. */
  readonly onLost: (reason: BackplaneError) => void;
}

export class StreamWatch {
  readonly #options: StreamWatchOptions;
  readonly #timer: NodeJS.Timeout;
  /** Looks in a row that found something wrong. */
  #unfit = 0;

  constructor(options: StreamWatchOptions, everyMs = NATS_STREAMS_LOOK_MS) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#look(), everyMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const { manager, cluster, identity, onLost } = this.#options;
    try {
      const now = await fitCluster(manager, cluster);
      if (now !== identity) {
        const message = `cluster ${cluster} is not the one that it was: its identity is ${now}, it was ${identity}`;
        throw new BackplaneError('failed_precondition', message);
      }
      this.#unfit = 0;
    } catch (cause) {
      // While NATS cannot say, nothing is known.
      if (!(cause instanceof BackplaneError) || cause.code !== 'failed_precondition') return;
      this.#unfit++;
      // A server that just started may know no stream yet.
      if (this.#unfit < READER_LOOKS) return;
      this.close();
      onLost(cause);
    }
  }
}
