/**
 * Runs a new program once, as its users will, and keeps what V8 compiled of it beside it (load-part.js): a bus of
 * synthetic events, and a subscriber who reads some. Each of its processes is started with this file, too, which there
 * writes the functions of the scripts that it has seen when the process ends.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import vm from 'node:vm';
import { compiledFile, withSum } from './load-part.js';

const NOTING = 'BUILD_NOTES_COMPILED';
const WAIT_MS_MAX = 60_000;

if (process.env[NOTING] !== undefined) noteScripts(process.env[NOTING]);

/** @param program the folder with main.js. Where it cannot run here its starts take longer, and that is all */
export async function keepCompiled(program) {
  const data = fs.mkdtempSync(path.join(tmpdir(), 'backplane-build-'));
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('BACKPLANE_'))),
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import=${import.meta.url}`,
    [NOTING]: program,
  };
  const start = (...args) =>
    spawn(process.execPath, [path.join(program, 'main.js'), ...args], {
      cwd: data,
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: WAIT_MS_MAX,
    });
  const bus = start(
    'up',
    '--source=synthetic',
    '--data-dir=.',
    '--grpc-listen=127.0.0.1:0',
    '--http-listen=127.0.0.1:0',
  );
  const busEnded = ended(bus);
  const address = await addressOf(bus);
  if (address !== undefined)
    await ended(start('observe', `--broker=${address}`, '--token-file=token', '--all', '--last=20'));
  bus.kill('SIGTERM');
  await Promise.all([
    busEnded,
    ...[['config'], ['completion', 'bash'], ['--help']].map((args) => ended(start(...args))),
  ]);
  fs.rmSync(data, { recursive: true, force: true });
}

/** Of a bus that is ready. */
async function addressOf(bus) {
  let said = '';
  for await (const text of bus.stdout.setEncoding('utf8')) {
    said += text;
    if (said.includes('Next, ')) return /listens on (\S+)/.exec(said)?.[1];
  }
  return undefined;
}

function ended(child) {
  child.stdout.resume();
  return new Promise((resolve) => child.on('error', resolve).on('close', resolve));
}

function noteScripts(program) {
  const scripts = [];
  vm.Script = class extends vm.Script {
    constructor(code, options) {
      super(code, options);
      if (path.dirname(options.filename) === program) scripts.push([options.filename, this]);
    }
  };
  process.on('exit', () => {
    for (const [filename, script] of scripts) {
      const target = compiledFile(filename);
      fs.writeFileSync(`${target}.${process.pid}`, withSum(script.createCachedData()));
      fs.renameSync(`${target}.${process.pid}`, target);
    }
  });
}
