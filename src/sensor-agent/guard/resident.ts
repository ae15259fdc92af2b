/** How much memory this process takes. */
import { getHeapStatistics } from 'node:v8';

/** Bytes. Where /proc is not mounted, which tells it: what the JavaScript engine knows of, which is most of it. */
export function residentBytes(): number {
  try {
    return process.memoryUsage.rss();
  } catch {
    const heap = getHeapStatistics();
    return heap.total_physical_size + heap.malloced_memory + heap.external_memory;
  }
}
