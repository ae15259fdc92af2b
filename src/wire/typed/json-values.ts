/** Values of protojson in the client library's form, and back. Runs in browsers. */

const NS_PER_S = 1_000_000_000n;
/** `2026-11-23T10:02:03.123456789Z` up to its seconds. */
const SECONDS_CHARACTERS = 19;
const TIME_CHARACTERS = 30;
const NONE: readonly never[] = [];

/** A number of 64 bits, which JSON has as text. */
export function wideOf(value: string | number): bigint {
  if (value !== lastWide.value) lastWide = { value, wide: BigInt(value) };
  return lastWide.wide;
}

/** Events that follow each other are mostly of one recording. */
let lastWide: { readonly value: string | number; readonly wide: bigint } = { value: 0, wide: 0n };

/** Nanoseconds since 1970 of RFC 3339 text as brokers write it; 0n where there is none. */
export function timeNsOf(text: string | undefined): bigint {
  if (text === undefined) return 0n;
  const second = text.slice(0, SECONDS_CHARACTERS);
  if (second !== lastSecond.text) lastSecond = { text: second, ns: BigInt(Date.parse(`${second}Z`) / 1000) * NS_PER_S };
  const fraction = text.length === TIME_CHARACTERS ? text.slice(SECONDS_CHARACTERS + 1, -1) : fractionOf(text);
  return lastSecond.ns + BigInt(fraction);
}

/** Events that follow each other are mostly of one second. */
let lastSecond = { text: '', ns: 0n };

/** Of fewer or no digits, as others than brokers write them. */
function fractionOf(text: string): string {
  return (/\.(\d+)/.exec(text)?.[1] ?? '').slice(0, 9).padEnd(9, '0');
}

/** RFC 3339 with nine digits. */
export function timeText(ns: bigint): string {
  const seconds = new Date(Number(ns / NS_PER_S) * 1000).toISOString().slice(0, SECONDS_CHARACTERS);
  return `${seconds}.${String(ns % NS_PER_S).padStart(9, '0')}Z`;
}

export function listOf<In, Out>(values: readonly In[] | undefined, one: (value: In) => Out): readonly Out[] {
  return values === undefined ? NONE : values.map(one);
}

export function mapOf<Out>(
  values: Readonly<Record<string, never>> | undefined,
  one: ((value: never) => Out) | undefined,
): Readonly<Record<string, Out>> {
  if (values === undefined) return {};
  if (one === undefined) return values;
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, one(value)]));
}

/** For JSON.stringify: numbers of 64 bits are texts. */
export function withWideTexts(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
