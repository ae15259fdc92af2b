/** The one way in which tests wait: for a condition, however slow the machine is, as long as something happens. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

/** On an emulated machine that does not see who crowds the one that emulates it, as many times as long. */
const SLOWNESS = Number(process.env.TEST_SLOWNESS ?? 1);
const STILL_MS_MAX = 60_000 * SLOWNESS;
/** The checks become rarer over time, and those that take long are rare, so that they do not slow down what is waited for. */
const POLL_MS_MIN = 5;
const POLL_MS_MAX = 100;
const POLL_GROWTH = 1.2;
const POLL_SHARE_MAX = 0.2;
/** A longer pause between two checks means that this process got no CPU time, and others may have got none either. */
const PAUSE_MS_MAX = 1_000;
const CORES = availableParallelism();
const SHOWN_CHARACTERS_MAX = 4_000;

/** What tells the time, and lets some of it pass. */
export interface Clock {
  now(): number;
  sleep(ms: number): Promise<unknown>;
}

const REAL: Clock = { now: () => performance.now(), sleep };

/**
 * Resolves to what `holds` returns, once that is neither false nor undefined. What `holds` throws ends the wait.
 * @param what for the message, as in "no gap within 60 s"
 * @param seen what shows progress, such as how much has come so far or what a process has printed: the wait fails when
 *   this has been the same for 60 s of an idle machine, and says what it was
 */
export async function until<T>(
  what: string,
  holds: () => T | Promise<T>,
  seen: () => unknown = () => 'nothing to see progress by',
  { now, sleep }: Clock = REAL,
): Promise<Exclude<T, false | undefined>> {
  let last = show(seen());
  let stillMs = 0;
  let pollMs = POLL_MS_MIN;
  for (let lookedMs = now(); ; ) {
    const beganMs = now();
    const found = await holds();
    if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
    const shown = show(seen());
    const nowMs = now();
    stillMs = shown === last ? stillMs + Math.min(nowMs - lookedMs, PAUSE_MS_MAX) / crowd() : 0;
    [last, lookedMs] = [shown, nowMs];
    if (stillMs > STILL_MS_MAX) assert.fail(`${what}: no progress for ${STILL_MS_MAX / 1000} s; last seen: ${last}`);
    await sleep(Math.min(Math.max(pollMs, (nowMs - beganMs) / POLL_SHARE_MAX), PAUSE_MS_MAX / 2));
    pollMs = Math.min(pollMs * POLL_GROWTH, POLL_MS_MAX);
  }
}

/** Threads that want to run, per core, and at least 1: where there are ten, all that is waited for takes ten times as long. */
function crowd(): number {
  try {
    const running = Number(/ (\d+)\/\d+ /.exec(readFileSync('/proc/loadavg', 'utf8'))?.[1]);
    return Math.max(1, running / CORES);
  } catch {
    return 1;
  }
}

/** Settles as `done` does. Fails when that has not settled and `seen` has been the same for 60 s. */
export async function settled<T>(what: string, done: Promise<T>, seen?: () => unknown): Promise<T> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  await Promise.race([done.then(settle, settle), until(what, () => isSettled, seen)]);
  return done;
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? value : inspect(value, { depth: 4, breakLength: 120 });
  // The newest output is at the end.
  return text.length > SHOWN_CHARACTERS_MAX
    ? `${text.length} characters, … ${text.slice(-SHOWN_CHARACTERS_MAX)}`
    : text;
}
