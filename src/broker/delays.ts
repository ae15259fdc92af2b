/** How long what a broker does for events takes. */
import { Distribution } from '../distribution.js';
import type { FileOps } from '../storage/file-ops.js';

/** Seconds. From what a fast disk or a short linger takes to what an operator wants to be woken for. */
const SYNC_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const DELIVERY_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export class Delays {
  /** Of the log's syncs, in seconds. */
  readonly syncs = new Distribution(SYNC_BOUNDS);
  /**
   * From the end of what a live frame covers, by the node's clock as corrected by the broker, to when its events were
   * handed to a subscriber's stream, in seconds.
   */
  readonly deliveries = new Distribution(DELIVERY_BOUNDS);
}

/** The same operations, with each sync timed. */
export function timed(files: FileOps, syncs: Distribution): FileOps {
  return {
    ...files,
    async sync(fd) {
      const beganMs = performance.now();
      await files.sync(fd);
      syncs.observe((performance.now() - beganMs) / 1000);
    },
  };
}
