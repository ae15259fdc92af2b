/** A build of C files whose compiler lines are from nearly nothing to more than 16 KiB, as strace recorded it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TracedExec, traced } from './strace.js';

const FILES = 60;
/** The longest line of options, in bytes: a little more than an event may hold. */
const OPTIONS_BYTES_MAX = 17_000;
const optionOf = (number: number) => `-DCONFIG_SUBSYSTEM_OPTION_NUMBER_${number}=1`;

/** Every program of the build: `make`, compilers and assemblers. `mark`: an early argument of all but the first has it. */
export async function recordedBuild(mark: string): Promise<TracedExec[]> {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-build-'));
  try {
    const names = Array.from({ length: FILES }, (_, index) => `${mark}_f${index}`);
    for (const [index, name] of names.entries())
      writeFileSync(join(dir, `${name}.c`), `#include <stdio.h>\nint f${index}(void){return 1;}\n`);
    const rules = names.map(
      (name, index) => `${name}.o: ${name}.c\n\tgcc -D${name} ${options(index).join(' ')} -c $< -o $@\n`,
    );
    writeFileSync(join(dir, 'Makefile'), `all: ${names.map((name) => `${name}.o`).join(' ')}\n\n${rules.join('\n')}`);
    return (await traced(['make', '-j2', '-s', '-C', dir])).execs;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function options(index: number): string[] {
  const all = ['-O1'];
  for (let bytes = 0; bytes < (OPTIONS_BYTES_MAX * index) / FILES; bytes += all.at(-1)!.length + 1)
    all.push(optionOf(all.length));
  return all;
}
