/**
 * Lets `npx backplane` work in a checkout: npx looks into node_modules/.bin,
 * where npm links the commands of dependencies but not the project's own.
 */
import { chmodSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';

chmodSync('dist/src/cli/main.js', 0o755);
mkdirSync('node_modules/.bin', { recursive: true });
rmSync('node_modules/.bin/backplane', { force: true });
symlinkSync('../../dist/src/cli/main.js', 'node_modules/.bin/backplane');
