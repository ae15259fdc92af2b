/** A shutdown in several steps, all of which must run. */

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
