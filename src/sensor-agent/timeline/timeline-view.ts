/** A timeline as everybody but its feeder sees it: to be read, not to be fed. */
import type { Timeline } from './timeline.js';

export type TimelineView = Pick<
  Timeline,
  | 'origin'
  | 'frontier'
  | 'clock'
  | 'horizonNs'
  | 'wallNs'
  | 'readWallNs'
  | 'pending'
  | 'passedOverNs'
  | 'skippableTypes'
  | 'openLosses'
  | 'taken'
  | 'failures'
  | 'waitingContainer'
  | 'containersKnown'
>;
