/**
 * What a probe copies of the stack that an exec has written, as fetch arguments of the kernel's dynamic events
 * (Documentation/trace/uprobetracer.rst). Blocks of a fixed size only: a fetched *string* has hung kernels, and comes
 * back as another length than it has (CVE-2024-50067). No kernel here takes more than PROBE_BYTES_MAX in one event.
 */
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import type { EventFormat } from '../pages/format.js';

/** Some kernels refuse more in one definition, with the head of its entry. */
const PROBE_BYTES_MAX = 3_072;
const ENTRY_HEAD_BYTES = 16;
const WORD_BYTES = 8;
/** The most that the kernel takes as one array. */
const BLOCK_WORDS = 64;
/** From the stack's start, in words: argc, the pointers to arguments and environment, the auxiliary vector. */
const STACK_BLOCKS: readonly number[] = [BLOCK_WORDS];
/**
 * From argv[0], in words: the arguments' text. Not more: each word beyond the top of the stack, where a program with a
 * small environment soon is, costs the program a page fault.
 */
const STRING_BLOCKS: readonly number[] = [BLOCK_WORDS, BLOCK_WORDS, BLOCK_WORDS];
const bytesOf = (blocks: readonly number[]) => blocks.reduce((sum, words) => sum + words * WORD_BYTES, 0);
export const WORDS_BYTES = bytesOf(STACK_BLOCKS);
export const STRINGS_BYTES = bytesOf(STRING_BLOCKS);
assert(ENTRY_HEAD_BYTES + WORDS_BYTES + STRINGS_BYTES <= PROBE_BYTES_MAX);

/**
 * The fetch arguments of a probe. `stack` has the stack's address, in the process's memory: a probe in the kernel can be
 * told that it is there (`+u0(…)`), but then takes no blocks, and on x86-64 and arm64 finds it without.
 */
export function fetchArguments(stack: string): string {
  const blocks = (name: string, words: readonly number[], base: string) =>
    words.map((count, at) => `${name}${at}=+${bytesOf(words.slice(0, at))}(${base}):x64[${count}]`);
  return [...blocks('words', STACK_BLOCKS, stack), ...blocks('strings', STRING_BLOCKS, `+8(${stack})`)].join(' ');
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

export function probePlaces(format: EventFormat): ProbePlaces | undefined {
  const words = startOf(format, 'words', STACK_BLOCKS);
  const strings = startOf(format, 'strings', STRING_BLOCKS);
  return words === undefined || strings === undefined ? undefined : { words, strings };
}

/** Where the first block lies, if the others follow it without a gap. */
function startOf(format: EventFormat, name: string, blocks: readonly number[]): number | undefined {
  const start = format.field(`${name}0`)?.offset;
  if (start === undefined) return undefined;
  const isWhole = blocks.every(
    (_, at) => format.field(`${name}${at}`)?.offset === start + bytesOf(blocks.slice(0, at)),
  );
  return isWhole ? start : undefined;
}
