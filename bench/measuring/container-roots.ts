/** Programs without a linker, and programs of new roots, each with a linker and a C library of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Started } from './exec-account.js';
import { startAll } from './starter.js';

/** Lives for as many milliseconds as its first argument says. */
const PROGRAM = `
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **args) { if (count > 1) usleep(1000 * atoi(args[1])); return 0; }
`;
/** Longer than the agent ever waits before it reads. */
const LIFE_MS = 600;
const ROOT_LINKER = '/lib64/ld-linux-x86-64.so.2';
const OTHER_LINKER = '/opt/own/ld.so';
/** Two in a row, as a container starts them. */
const ONE_BY_ONE = { periodMs: 0, atOnce: 1 } as const;

/** How the first of a root's programs lives, and the others after it. */
const LIVES = [
  { firstMs: LIFE_MS, periodMs: 0, how: 'the first lives 0.6 s' },
  { firstMs: 0, periodMs: 0, how: 'all end at once' },
  // When the one before was told.
  { firstMs: 0, periodMs: 600, how: 'all end at once, one every 0.6 s' },
] as const;

/** `turn`: as whose exec of that program file or root. */
export interface Turn extends Started {
  readonly turn: string;
}

export interface Kind {
  readonly what: string;
  readonly start: (mark: string) => Promise<Turn[]>;
}

type Compile = (dir: string) => string;

const compiled =
  (compiler: string, ...options: string[]): Compile =>
  (dir) => {
    const [source, program] = [join(dir, 'program.c'), join(dir, 'program')];
    writeFileSync(source, PROGRAM);
    execFileSync(compiler, ['-O1', ...options, '-o', program, source]);
    return program;
  };

/** Those that can be made here. */
const possible = (compile: Compile) => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-try-'));
  try {
    compile(dir);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};

const busybox: Compile = (dir) => {
  const program = join(dir, 'busybox');
  copyFileSync('/bin/busybox', program);
  return program;
};

/** Each kind runs `count` programs of one new file. */
export function staticPrograms(count: number): Kind[] {
  const lasting = (ms: number) => (program: string) => [program, String(ms)];
  return (
    [
      ['busybox true', busybox, (program: string) => [program, 'true']],
      ['glibc, ends at once', compiled('gcc', '-static'), lasting(0)],
      ['glibc, 0.6 s', compiled('gcc', '-static'), lasting(LIFE_MS)],
      ['musl, ends at once', compiled('musl-gcc', '-static'), lasting(0)],
      ['musl, 0.6 s', compiled('musl-gcc', '-static'), lasting(LIFE_MS)],
    ] as const
  )
    .filter(([, compile]) => possible(compile))
    .map(([what, compile, commandOf]) => ({
      what,
      start: async (mark) => {
        const dir = mkdtempSync(join(tmpdir(), 'backplane-static-'));
        try {
          const program = compile(dir);
          const commands = Array.from({ length: count }, (_, at) => [...commandOf(program), `${mark}-${at}`]);
          const { started } = await startAll(commands, ONE_BY_ONE);
          return started.map((one, at) => ({ ...one, turn: at === 0 ? 'first' : 'later' }));
        } finally {
          rmSync(dir, { recursive: true, force: true });
        }
      },
    }));
}

/** From the mount of a container's root until its first program a runtime takes as long at least. */
const RUNTIME_MS = 300;
const MAX_BUSY_MS = 5_000;

/** Overlays as runtimes make them: over an image of their own, or of one image for all. Three programs that end at once. */
export function overlayPrograms(count: number): Kind[] {
  const compile = compiled('gcc');
  if (!possible(compile)) return [];
  return (
    [
      ['an image each', true, RUNTIME_MS],
      ['an image each, begun as soon as it is mounted', true, 0],
      ['one image', false, 0],
    ] as const
  ).map(([what, isOwn, waitMs]) => ({
    what: `overlay, ${what}`,
    start: async (mark: string) => {
      const dir = mkdtempSync(join(tmpdir(), 'backplane-overlays-'));
      const program = compile(dir);
      const all: Turn[] = [];
      let longestMs = 0;
      for (let at = 0; at < count; at += 1) {
        const image = join(dir, isOwn ? `image-${at}` : 'image');
        if (isOwn || at === 0) fill(image, program, ROOT_LINKER);
        const [root, upper, work] = ['root', 'upper', 'work'].map((name) => join(dir, `${name}-${at}`)) as string[];
        for (const made of [root!, upper!, work!]) mkdirSync(made);
        const layers = `lowerdir=${image},upperdir=${upper},workdir=${work}`;
        execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, root!]);
        await sleep(waitMs);
        all.push(...(await threePrograms(root!, `${mark}-${at}`)));
        longestMs = Math.max(longestMs, await unmountedAfterMs(root!));
      }
      console.log(`busy for ${Math.round(longestMs)} ms after its last program at most: ${what}`);
      rmSync(dir, { recursive: true, force: true });
      return all;
    },
  }));
}

/** A visit to a program that has just ended may hold its root for a moment; what holds it for longer is a fault. */
async function unmountedAfterMs(root: string): Promise<number> {
  const from = performance.now();
  while (spawnSync('umount', [root]).status !== 0) {
    if (performance.now() - from > MAX_BUSY_MS)
      throw new Error(`${root} is busy ${MAX_BUSY_MS} ms after its last program`);
    await sleep(5);
  }
  return performance.now() - from;
}

async function threePrograms(root: string, mark: string, firstMs = 0, periodMs = 0): Promise<Turn[]> {
  const own = [firstMs, 0, 0].map((ms, turn) => ['/program', String(ms), `${mark}-${turn}`]);
  await startAll(
    own.map((command) => ['/usr/sbin/chroot', root, ...command]),
    { ...ONE_BY_ONE, periodMs },
  );
  return own.map((args, turn) => ({ args, turn: ['first', 'second', 'third'][turn]! }));
}

/** Each kind makes `count` roots, one after the other, and runs three programs in each. */
export function containerPrograms(count: number): Kind[] {
  const other = `-Wl,--dynamic-linker=${OTHER_LINKER}`;
  return (
    [
      ['glibc', compiled('gcc'), ROOT_LINKER],
      ['musl', compiled('musl-gcc'), '/lib/ld-musl-x86_64.so.1'],
      ['glibc, its linker at another path', compiled('gcc', other), OTHER_LINKER],
    ] as const
  )
    .filter(([, compile]) => possible(compile))
    .flatMap(([what, compile, linker]) =>
      LIVES.map(({ firstMs, periodMs, how }) => ({
        what: `${what}; ${how}`,
        start: async (mark: string) => {
          const dir = mkdtempSync(join(tmpdir(), 'backplane-roots-'));
          const program = compile(dir);
          const all: Turn[] = [];
          for (let at = 0; at < count; at += 1) all.push(...(await inRoot(join(dir, `${at}`), program, linker)));
          rmSync(dir, { recursive: true, force: true });
          return all;

          async function inRoot(root: string, from: string, linker: string): Promise<Turn[]> {
            mkdirSync(root);
            execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', root]);
            try {
              fill(root, from, linker);
              return await threePrograms(root, `${mark}-${basename(root)}`, firstMs, periodMs);
            } finally {
              // The agent's probe may be there for some seconds more.
              spawnSync('umount', ['-l', root]);
            }
          }
        },
      })),
    );
}

function fill(root: string, program: string, linker: string): void {
  const put = (from: string, to: string) => {
    mkdirSync(join(root, dirname(to)), { recursive: true });
    copyFileSync(from, join(root, to));
  };
  put(program, '/program');
  // Of musl both are one file.
  const isMusl = linker.includes('musl');
  put(isMusl ? linker : ROOT_LINKER, linker);
  if (!isMusl) put('/lib/x86_64-linux-gnu/libc.so.6', '/lib/x86_64-linux-gnu/libc.so.6');
}
