/**
 * Around `npm pack` and `npm publish`, which leave links out: while a package is made `dist` is a folder with the
 * program and the client library, and then the link again that a build makes of it. Processes do not notice: they run from where the link led.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.js';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));

const program = await build();
if (process.argv[2] === 'begin') {
  const aside = `${program}-package`;
  fs.rmSync(aside, { recursive: true, force: true });
  for (const name of ['program', 'client', 'descriptors'])
    fs.cpSync(path.join(program, name), path.join(aside, name), { recursive: true });
  fs.rmSync(DIST);
  fs.renameSync(aside, DIST);
}
