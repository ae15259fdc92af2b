/** Positions as brokers write them for each other in JSON: [epoch, nanoseconds as text, lane, tie]. */
import * as z from 'zod';
import type { Position } from '../../wire/position.js';

const whole = z.number().int().nonnegative();
/** As text: JSON has no numbers of 64 bits. */
export const u64Schema = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt)
  .refine((value) => value < 1n << 64n);

export const positionSchema = z
  .tuple([whole, u64Schema, whole.max(0xffff), whole.max(0xffff_ffff)])
  .transform(([epoch, timeNs, lane, tie]): Position => ({ epoch, timeNs, lane, tie }));

export function positionTuple({ epoch, timeNs, lane, tie }: Position): [number, string, number, number] {
  return [epoch, timeNs.toString(), lane, tie];
}
