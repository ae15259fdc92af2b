/** How long what a broker does for events takes, as metrics. */
import { histogramOf } from '../metrics.js';
import type { FileOps } from '../storage/file-ops.js';

/** Seconds. From what a fast disk or a short linger takes to what an operator wants to be woken for. */
const SYNC_BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const DELIVERY_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export class Delays {
  readonly syncs = histogramOf('fsync_seconds', 'Duration of syncs of the log.', SYNC_BOUNDS);
  readonly deliveries = histogramOf(
    'delivery_delay_seconds',
    "Age of live events when they were handed to a subscriber's stream, from the end of what their frame covers.",
    DELIVERY_BOUNDS,
  );

  /** @param seconds may be below 0, as clocks differ */
  delivered(seconds: number): void {
    this.deliveries.observe(Math.max(0, seconds));
  }

  /** The same operations, with each sync timed. */
  timed(files: FileOps): FileOps {
    return {
      ...files,
      sync: async (fd) => {
        const beganMs = performance.now();
        await files.sync(fd);
        this.syncs.observe((performance.now() - beganMs) / 1000);
      },
    };
  }
}
