/**
 * The forms that settings have: one word of a few, numbers, sizes, spans of time, lists. Plain functions, since every
 * command reads all settings as it starts, and making some sixty schemas of a library took longer than all else there.
 */
import { BackplaneError } from '../errors.js';
import { bytesText, parseBytes } from '../text/size-text.js';
import { durationMsText, parseDurationMs } from '../text/time-text.js';

export interface Setting<T> {
  /**
   * The value of a text; a promise of it where a library is loaded for that, never for the fallback.
   * @throws BackplaneError invalid_argument: the reason, as it follows the setting's name
   */
  readonly parse: (text: string) => T | Promise<T>;
  /** As a user would write it. */
  readonly fallback: string;
  readonly summary: string;
  /** The inverse of `parse`. */
  readonly text: (value: T) => string;
  /** The accepted words, if only these are accepted. */
  readonly choices?: readonly string[];
  /** True where YAML may give a list, which flags and environment give comma-separated. */
  readonly list?: boolean;
  /** True where YAML gives data, which flags and environment give as JSON. */
  readonly data?: boolean;
  /** True where no message shows the value. */
  readonly secret?: boolean;
}

export function setting<T>(
  parse: (text: string) => T,
  fallback: string,
  summary: string,
  text: (value: T) => string = String,
) {
  return { parse, fallback, summary, text };
}

/** @throws BackplaneError invalid_argument with this reason */
export function refuse(reason: string): never {
  throw new BackplaneError('invalid_argument', reason);
}

/** What a text of JSON holds; `must` says what it must be. */
export function jsonData(text: string, must: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return refuse(must);
  }
}

export const anyText = (text: string): string => text;

/** A text that passes a check; `must` says what it must be. */
export function textThat(check: (text: string) => boolean, must: string): (text: string) => string {
  return (text) => (check(text) ? text : refuse(must));
}

export const filledText = textThat((text) => text !== '', 'must not be empty');

/** One of a few words. */
export function choice<const T extends string>(choices: readonly [T, ...T[]], fallback: T, summary: string) {
  return { ...setting<T>(oneOf(...choices), fallback, summary), choices };
}

export function oneOf<const T extends string>(...words: readonly [T, ...T[]]): (text: string) => T {
  return (text) => words.find((word) => word === text) ?? refuse(`must be one of ${words.join(', ')}`);
}

type Bounds = readonly [min: number, max: number];

function within(value: number, [min, max]: Bounds, text: (value: number) => string): number {
  if (value < min) refuse(`must be at least ${text(min)}`);
  if (value > max) refuse(`must be at most ${text(max)}`);
  return value;
}

export function whole(min: number, max: number): (text: string) => number {
  return (text) =>
    /^-?\d{1,15}$/.test(text) ? within(Number(text), [min, max], String) : refuse('must be a whole number');
}

function quantity(
  parse: (text: string) => number | undefined,
  text: (value: number) => string,
  bounds: Bounds,
  example: string,
): (text: string) => number {
  return (given) => within(parse(given) ?? refuse(`must be like ${example}`), bounds, text);
}

export function size(bounds: Bounds, fallback: number, summary: string): Setting<number> {
  return setting(quantity(parseBytes, bytesText, bounds, '512MiB'), bytesText(fallback), summary, bytesText);
}

export function span(bounds: Bounds, fallbackMs: number, summary: string): Setting<number> {
  const parse = quantity(parseDurationMs, durationMsText, bounds, '90s or 24h');
  return setting(parse, durationMsText(fallbackMs), summary, durationMsText);
}

/** The items of a comma-separated list. */
export function itemsOf(text: string): readonly string[] {
  return text.split(',').flatMap((item) => item.trim() || []);
}

export function list(check: (item: string) => boolean, [min, max]: Bounds, form: string) {
  const parse = (text: string): readonly string[] => {
    const items = itemsOf(text);
    if (items.length < min || items.length > max) refuse(`must hold ${min} to ${max} items`);
    return items.every(check) ? items : refuse(`must hold ${form}`);
  };
  return { parse, text: (items: readonly string[]) => items.join(','), list: true };
}
