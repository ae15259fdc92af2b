/**
 * The last known name of each pid, per node, from the events shown so far: events carry only their parent's pid, but
 * people want its name. Bounded; unknown names are left out.
 */
import { LRUCache } from 'lru-cache';
import { SHOWN_PROCESSES_MAX } from '../../limits.js';
import type { EventMessage } from '../../wire/messages.js';

export class ProcessNames {
  readonly #names = new LRUCache<string, string>({ max: SHOWN_PROCESSES_MAX });

  /** Call for every event, in order, after it was shown. */
  learn(node: string, event: EventMessage): void {
    const process = event.process;
    if (!process || process.comm === '') return;
    if (event.type === 'process.exit') {
      // The pid may soon be reused.
      this.#names.delete(`${node}\0${process.pid}`);
      return;
    }
    this.#names.set(`${node}\0${process.pid}`, process.comm);
    // A child starts out with its parent's name.
    if (event.type === 'process.fork' && process.parentPid > 0) {
      this.#names.set(`${node}\0${process.parentPid}`, process.comm);
    }
  }

  get(node: string, pid: number): string | undefined {
    return this.#names.get(`${node}\0${pid}`);
  }
}
