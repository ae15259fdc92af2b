/**
 * Compiles some filters before the first request. Afterwards the engine has optimised the compiler, and a filter takes
 * a few milliseconds; without this, a filter that is costly to refuse could hold up a broker that has just started.
 */
import { BackplaneError } from '../errors.js';
import { compilePredicate } from './predicate.js';

const ROUNDS = 12;

/** Takes some tens of milliseconds, once. */
export function warmUpFilters(): void {
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const filter of [
      `process.pid == ${round} && (process.comm.startsWith("a") || size(process.command_args) > 2)`,
      `process.command_args.exists(a, a.contains("x${round}")) && !(network.peer.port in [1, 2, 3])`,
      `process.comm.matches("(a|b${round}){1,50}[\\\\p{L}x-z]+(cd?)*${'|k'.repeat(100)}")`,
      `process.comm.matches("${'(x+)+'.repeat(100)}(${round}{1,900}){1,900}")`,
      `processs.pid${round} == 1`,
      `process.comm == "${String(round).repeat(1000)}" && true`,
    ]) {
      try {
        compilePredicate({ topics: [], filter, includeSelf: false });
      } catch (cause) {
        if (!(cause instanceof BackplaneError)) throw cause;
      }
    }
  }
}
