/** The forms that settings have: one word of a few, numbers, sizes, spans of time, lists. */
import * as z from 'zod';
import { bytesText, parseBytes } from '../text/size-text.js';
import { durationMsText, parseDurationMs } from '../text/time-text.js';

export interface Setting<T> {
  readonly schema: z.ZodType<T, string>;
  /** As a user would write it. */
  readonly fallback: string;
  readonly summary: string;
  /** The inverse of the schema. */
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
  schema: z.ZodType<T, string>,
  fallback: string,
  summary: string,
  text: (value: T) => string = String,
): Setting<T> {
  return { schema, fallback, summary, text };
}

/** One of a few words. */
export function choice<const T extends string>(choices: readonly [T, ...T[]], fallback: T, summary: string) {
  return { ...setting<T>(oneOf(...choices), fallback, summary), choices };
}

export function whole(min: number, max: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^-?\d{1,15}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));
}

function quantity(
  parse: (text: string) => number | undefined,
  text: (value: number) => string,
  [min, max, example]: readonly [number, number, string],
): z.ZodType<number, string> {
  return z
    .string()
    .transform((given, context) => {
      const value = parse(given);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: `must be like ${example}` });
      return z.NEVER;
    })
    .pipe(
      z
        .number()
        .min(min, `must be at least ${text(min)}`)
        .max(max, `must be at most ${text(max)}`),
    );
}

type Bounds = readonly [min: number, max: number];

export function size(bounds: Bounds, fallback: number, summary: string): Setting<number> {
  return setting(quantity(parseBytes, bytesText, [...bounds, '512MiB']), bytesText(fallback), summary, bytesText);
}

export function span(bounds: Bounds, fallbackMs: number, summary: string): Setting<number> {
  const schema = quantity(parseDurationMs, durationMsText, [...bounds, '90s or 24h']);
  return setting(schema, durationMsText(fallbackMs), summary, durationMsText);
}

export const oneOf = <const T extends string>(...words: readonly [T, ...T[]]) =>
  z.string().pipe(z.enum(words, { error: `must be one of ${words.join(', ')}` })) as z.ZodType<T, string>;

export function list(check: (item: string) => boolean, [min, max]: Bounds, form: string) {
  const schema = z
    .string()
    .transform((text) => text.split(',').flatMap((item) => item.trim() || []) as readonly string[])
    .refine((items) => items.length >= min && items.length <= max, `must hold ${min} to ${max} items`)
    .refine((items) => items.every(check), `must hold ${form}`);
  return { schema, text: (items: readonly string[]) => items.join(','), list: true };
}
