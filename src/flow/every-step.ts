/** Work in several parts, all of which must end before it counts as done or failed. */

/** Runs the steps one after another, even if earlier ones fail; then throws the error of the first that failed. */
export async function everyStep(...steps: readonly (() => void | Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (cause) {
      failures.push(cause);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** Waits for all of them, even if some fail; then throws the error of the first that failed. */
export async function everyOne(parts: Iterable<Promise<unknown>>): Promise<void> {
  const results = await Promise.allSettled(parts);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
