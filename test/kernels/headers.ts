/** The tables of src/architecture against the kernel's own headers, of the newest release. */
import fs from 'node:fs';
import path from 'node:path';
import { ARCHITECTURES, type Architecture } from '../../src/architecture/architecture.js';

/** The headers' folder of an architecture, and its file of ptrace's requests. */
const HEADERS = {
  x64: { folder: 'x86', requests: 'ptrace-abi.h' },
  arm64: { folder: 'arm64', requests: 'ptrace.h' },
} as const;
const ARCHITECTURE_NAMES = ['x64', 'arm64'] as const;

/** What differs, a line each. `root`: the folder of the package `linux-libc-dev`, unpacked. */
export function tablesThatDiffer(root: string): string[] {
  return ARCHITECTURE_NAMES.flatMap((name) => {
    const { folder, requests } = HEADERS[name];
    const read = (file: string) => defined(path.join(root, 'usr/lib/linux/uapi', folder, 'asm', file));
    const generic = defined(path.join(root, 'usr/include/asm-generic/fcntl.h'));
    const { calls, traceRequests, openFlags } = ARCHITECTURES[name] as Architecture;
    const own = new Map([...generic, ...read('fcntl.h')]);
    const pairs = [
      ...differences(starting('__NR_', read('unistd_64.h')), byName(calls)),
      ...differences(starting('PTRACE_', read(requests)), byName(traceRequests, 'PTRACE_')),
      ...differences(
        new Map(Object.keys(openFlags).map((flag) => [flag, own.get(flag)])),
        new Map(Object.entries(openFlags)),
      ),
    ];
    return pairs.map((text) => `${name}: ${text}`);
  });
}

/** `#define NAME 12`, `014` or `(1 << 14)`. */
function defined(file: string): ReadonlyMap<string, number> {
  const lines = fs.readFileSync(file, 'utf8').matchAll(/^#\s*define\s+(\w+)\s+(?:(\d+)|\(1 << (\d+)\))/gm);
  return new Map(
    [...lines].map(([, name, number, bit]) => [
      name!,
      bit === undefined ? Number.parseInt(number!, number!.startsWith('0') ? 8 : 10) : 2 ** Number(bit),
    ]),
  );
}

function starting(prefix: string, all: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  return new Map(
    [...all].flatMap(([name, value]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [])),
  );
}

function byName(table: Architecture['calls'], prefix = ''): ReadonlyMap<string, number> {
  return new Map([...table].map(([value, name]) => [name.slice(prefix.length), Number(value)]));
}

function differences(
  theirs: ReadonlyMap<string, number | undefined>,
  ours: ReadonlyMap<string, number | undefined>,
): string[] {
  const names = new Set([...theirs.keys(), ...ours.keys()]);
  return [...names].flatMap((name) =>
    theirs.get(name) === ours.get(name)
      ? []
      : [`${name} is ${theirs.get(name) ?? 'not'} in the kernel's headers, ${ours.get(name) ?? 'not'} in the table`],
  );
}
