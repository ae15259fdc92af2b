/** Configured rules: RE2 patterns, each over the whole text, in bounded time. */
import { REDACTION_MATCHES_MAX, REDACTION_PATTERN_MS_MAX, REDACTION_PATTERN_STEPS_MAX } from '../../limits.js';
import type { Findings } from './findings.js';
import type { CompiledPattern } from './rule.js';

/** Masks the matches of a pattern in the text, from `from` on; masks the rest whole when time runs out. */
export function findPattern(
  { name, pattern, groups }: CompiledPattern,
  text: string,
  from: number,
  found: Findings,
): void {
  if (pattern.instructions * text.length > REDACTION_PATTERN_STEPS_MAX) {
    found.add(name, from, text.length);
    return;
  }
  const untilMs = performance.now() + REDACTION_PATTERN_MS_MAX;
  const matcher = pattern.compiled.matcher(text);
  for (let matches = 0; matcher.find(); matches += 1) {
    // Each match may have scanned the whole text, so going on could take time quadratic in its length.
    if (matches === REDACTION_MATCHES_MAX || performance.now() > untilMs) {
      found.add(name, Math.max(from, matcher.start()), text.length);
      return;
    }
    for (const group of groups) found.add(name, Math.max(from, matcher.start(group)), matcher.end(group));
  }
}

/** Runs `work` and returns the CPU time in ms that it took, without what other programs took meanwhile. */
export function cpuMsOf(work: () => void): number {
  const startMs = performance.now();
  const before = process.cpuUsage();
  work();
  const after = process.cpuUsage();
  // CPU time counts all threads, so the time that passed is the other bound.
  const cpuMs = (after.user + after.system - before.user - before.system) / 1000;
  return Math.min(performance.now() - startMs, cpuMs);
}
