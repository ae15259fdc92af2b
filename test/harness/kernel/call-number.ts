/** System calls by name, for programs that make them by number. */
import { OWN_ARCHITECTURE } from '../../../src/architecture/architecture.js';

/** This machine's number of a call; undefined where it has none of that name. */
export function callNumber(name: string): number | undefined {
  const [number] = [...(OWN_ARCHITECTURE?.calls ?? [])].find(([, each]) => each === name) ?? [];
  return number === undefined ? undefined : Number(number);
}
