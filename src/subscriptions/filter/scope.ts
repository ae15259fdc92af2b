/** What is known where an expression is checked: the text for messages, and the variable of a comprehension. */
import type { ErrorDetails } from '../../errors.js';
import type { CheckedExpr, ValueType } from './checked.js';
import { coerced } from './dynamic.js';
import type { Syntax } from './parse.js';
import { refusal } from './refusal.js';

export const INT_MIN = -(2n ** 63n);
export const INT_MAX = 2n ** 63n - 1n;

type Check = (scope: Scope, node: Syntax) => CheckedExpr;

export class Scope {
  readonly #check: Check;

  constructor(
    readonly text: string,
    /** The comprehension's variable; undefined outside of one. */
    readonly variable: string | undefined,
    check: Check,
    /**
     * Counts the instructions of all patterns so far, so that further patterns are not compiled once there are too
     * many.
     */
    readonly patterns = { instructions: 0 },
  ) {
    this.#check = check;
  }

  check(node: Syntax): CheckedExpr {
    return this.#check(this, node);
  }

  /** Checks a node that must be of one type. `role` is what it is, for the message. */
  checkAs(node: Syntax, type: ValueType, role: string): CheckedExpr {
    const checked = coerced(this.check(node), type);
    if (checked.type !== type) throw this.refuse(node, `${role} must be ${type}, but is ${checked.type}`);
    return checked;
  }

  refuse(node: Syntax, problem: string, details: ErrorDetails = {}): Error {
    return refusal(this.text, node.at, problem, details);
  }
}
