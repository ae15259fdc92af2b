/** An end in several steps, each of which has to be taken. */

/** Takes them one after another, whatever became of those before; then throws what the first that failed did. */
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
