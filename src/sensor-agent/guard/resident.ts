/** How much memory this process takes. */
import { getHeapStatistics } from 'node:v8';

/**
 * Resident bytes. Without /proc, which provides them: the bytes that the JavaScript engine knows of, which are most.
 */
export function residentBytes(): number {
  try {
    return process.memoryUsage.rss();
  } catch {
    const heap = getHeapStatistics();
    return heap.total_physical_size + heap.malloced_memory + heap.external_memory;
  }
}
