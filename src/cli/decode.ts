/**
 * `decode`: the events of a captured trace buffer as one JSON object a line,
 * in time order over all CPUs. No kernel and no agent needed.
 */
import type { Writable } from 'node:stream';
import { type CaptureEvent, mergeEvents, readCapture } from '../sensor-agent/source/pages/capture.js';
import type { FieldValue, FieldValues } from '../sensor-agent/source/pages/decoder.js';
import { eventPid, type FormatTable } from '../sensor-agent/source/pages/format.js';
import { jsonText } from './render/text.js';

/** Output is gathered up to this many characters before it is written. */
const BATCH_CHARACTERS = 64 * 1024;

/**
 * Decodes the capture in `dir` (see capture.ts). Events go to `out` as
 * `{"time":"<boot ns>","cpu":0,"event":"sched_process_exec","pid":1,"fields":{...}}`
 * (integers beyond 2^53 as strings), each CPU's losses to `err` as `{"cpu":0,"lost":12}`.
 * Throws BackplaneError `not_found` or `damaged`; events before the damage are written.
 */
export async function decode(dir: string, out: Writable & { readonly isTTY?: boolean }, err: Writable): Promise<void> {
  const { formats, lanes } = readCapture(dir);
  let batch = '';
  const terminal = out.isTTY === true;
  // A reader that has gone (`| head`) or a full disk ends the output: the caller decides what that means.
  let lost = false;
  out.once('error', () => {
    lost = true;
  });
  try {
    for (const event of mergeEvents(lanes)) {
      batch += `${line(event, formats, terminal)}\n`;
      if (batch.length < BATCH_CHARACTERS) continue;
      const full = !out.write(batch);
      batch = '';
      if (full) await drained(out);
      if (lost || out.destroyed) return;
    }
  } finally {
    if (batch !== '') out.write(batch);
    for (const { lane, lost, lostUnknown } of lanes) {
      if (lost === 0 && !lostUnknown) continue;
      err.write(`${JSON.stringify({ cpu: lane, lost, ...(lostUnknown ? { lostUnknown } : {}) })}\n`);
    }
  }
}

/** Resolves when there is room again, or never will be. */
async function drained(out: Writable): Promise<void> {
  await new Promise<void>((resolve) => {
    const events = ['drain', 'close', 'error'];
    const done = () => {
      for (const event of events) out.off(event, done);
      resolve();
    };
    for (const event of events) out.on(event, done);
  });
}

function line(event: CaptureEvent, formats: FormatTable, terminal: boolean): string {
  const { page, at, length } = event;
  const format = formats.byId(event.id);
  const value = {
    time: event.timeNs.toString(),
    cpu: event.lane,
    event: format?.name ?? `#${event.id}`,
    pid: eventPid(page, at, length),
    fields: format === undefined ? {} : plain(format.decode(page, at, length)),
  };
  return jsonText(value, terminal);
}

function plain(fields: FieldValues): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) out[name] = Array.isArray(value) ? value.map(wide) : wide(value);
  return out;
}

function wide(value: FieldValue): unknown {
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
