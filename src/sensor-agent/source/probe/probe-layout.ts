/**
 * What a probe copies of the stack that an exec has written, as fetch arguments of the kernel's dynamic events
 * (Documentation/trace/uprobetracer.rst). Blocks of a fixed size only: a fetched *string* has hung kernels, and comes
 * back as another length than it has (CVE-2024-50067). No kernel here takes more than PROBE_BYTES_MAX in one event.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import type { EventFormat } from '../pages/format.js';

/** Some kernels refuse more in one definition. */
const PROBE_BYTES_MAX = 3_072;
const BLOCK_WORDS = 64;
const BLOCK_BYTES = BLOCK_WORDS * 8;
/** From the stack's start: argc, the pointers to arguments and environment, the auxiliary vector. */
const WORD_BLOCKS = 2;
/** From argv[0]: the arguments' text. */
const STRING_BLOCKS = 3;
export const STRINGS_BYTES = STRING_BLOCKS * BLOCK_BYTES;
assert((WORD_BLOCKS + STRING_BLOCKS) * BLOCK_BYTES <= PROBE_BYTES_MAX);

/**
 * The fetch arguments of a probe. `stack` has the stack's address, in the process's memory: a probe in the kernel can be
 * told that it is there (`+u0(…)`), but then takes no blocks, and on x86-64 and arm64 finds it without.
 */
export function fetchArguments(stack: string): string {
  const block = (name: string, at: number, base: string) =>
    `${name}${at}=+${at * BLOCK_BYTES}(${base}):x64[${BLOCK_WORDS}]`;
  return [
    ...Array.from({ length: WORD_BLOCKS }, (_, at) => block('words', at, stack)),
    ...Array.from({ length: STRING_BLOCKS }, (_, at) => block('strings', at, `+8(${stack})`)),
  ].join(' ');
}

/** Of an event's name: probes of one name fetch the same, whichever version of the agent has defined them. */
export function fetchDigest(fetch: string): string {
  return crc32(fetch).toString(16);
}

/** Where an event's payload has the copies; undefined where its format is not that of such a probe. */
export interface ProbePlaces {
  readonly words: number;
  readonly strings: number;
}

export const WORDS_BYTES = WORD_BLOCKS * BLOCK_BYTES;

export function probePlaces(format: EventFormat): ProbePlaces | undefined {
  const [words, strings] = [format.field('words0')?.offset, format.field('strings0')?.offset];
  if (words === undefined || strings === undefined) return undefined;
  const whole = [
    ...Array.from({ length: WORD_BLOCKS }, (_, at) => format.field(`words${at}`)?.offset === words + at * BLOCK_BYTES),
    ...Array.from(
      { length: STRING_BLOCKS },
      (_, at) => format.field(`strings${at}`)?.offset === strings + at * BLOCK_BYTES,
    ),
  ];
  return whole.every(Boolean) ? { words, strings } : undefined;
}
