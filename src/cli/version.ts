/** The package's version, from its package.json. */
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  // In a checkout and when installed alike: dist/src/cli/version.js.
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
