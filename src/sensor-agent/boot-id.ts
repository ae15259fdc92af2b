/** Identifies the machine's present boot. */
import { existsSync, readFileSync } from 'node:fs';

/** Empty where the kernel does not say. */
export function currentBootId(): string {
  const path = '/proc/sys/kernel/random/boot_id';
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
}
