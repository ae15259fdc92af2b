/**
 * The files that the package has beside its code. The code is there in two forms, a folder below what one build makes
 * (scripts/build.js), and this file is at the top of both: modules (`dist/src`) and their bundle (`dist/program`).
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** In a checkout and when installed alike, e.g. `proto`. */
export function packageFile(name: string): string {
  return fileURLToPath(new URL(`../../${name}`, import.meta.url));
}

/** Made by the build that this code is of, e.g. `descriptors/health.binpb`; without a name, the build's folder. */
export function builtFile(name = ''): string {
  return fileURLToPath(new URL(`../${name}`, import.meta.url));
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }).version;
}
