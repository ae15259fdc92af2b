/** Whether a filter can be true for any event of a type, so that an agent can skip whole types. */
import { type BusEvent, carries } from '../../wire/event/event.js';
import { type CheckedExpr, childrenOf } from './checked.js';
import { compileFilter } from './compile.js';
import { type Host, NO_HOST } from './host.js';

/** `always`: true for every such event. `never`: true for none, because it is false or has no value. */
type Answer = 'always' | 'never' | 'maybe';

/** False only when no event of this type can match. `host` undefined: any host. */
export function canMatch(root: CheckedExpr, type: string, topic: string, host: Host | undefined): boolean {
  return answer(root, bareEvent(type, topic), host) !== 'never';
}

/**
 * Whether an expression is true, or false, for every event of a type; neither when it has no value. Undefined: it
 * depends on the event.
 */
export function decidedFor(
  expr: CheckedExpr,
  type: string,
  topic: string,
  host: Host | undefined,
): { readonly true: boolean; readonly false: boolean } | undefined {
  if (!isFixed(expr, type, host !== undefined)) return undefined;
  const event = bareEvent(type, topic);
  const holds = (tested: CheckedExpr): boolean => compileFilter(tested, host ?? NO_HOST)(event);
  return { true: holds(expr), false: holds({ kind: 'not', type: 'bool', operand: expr }) };
}

function bareEvent(type: string, topic: string): BusEvent {
  return { type, topic, position: { epoch: 0, timeNs: 0n, lane: 0, tie: 0 }, wallNs: 0n };
}

function answer(expr: CheckedExpr, event: BusEvent, host: Host | undefined): Answer {
  switch (expr.kind) {
    case 'and':
    case 'or':
      return logicAnswer(
        expr.operands.map((operand) => answer(operand, event, host)),
        expr.kind === 'and' ? 'never' : 'always',
      );
    case 'not':
      // The opposite of `never` may still have no value.
      return answer(expr.operand, event, host) === 'always' ? 'never' : decided(expr, event, host);
    case 'conditional': {
      const test = answer(expr.test, event, host);
      if (test === 'always') return answer(expr.yes, event, host);
      const no = answer(expr.no, event, host);
      if (test === 'never') return no === 'never' ? 'never' : 'maybe';
      return no === 'never' && answer(expr.yes, event, host) === 'never' ? 'never' : 'maybe';
    }
    default:
      return decided(expr, event, host);
  }
}

function logicAnswer(answers: readonly Answer[], decisive: 'always' | 'never'): Answer {
  if (answers.includes(decisive)) return decisive;
  return answers.includes('maybe') ? 'maybe' : answers[0]!;
}

/** Evaluates an expression that depends on the type alone. */
function decided(expr: CheckedExpr, event: BusEvent, host: Host | undefined): Answer {
  if (!isFixed(expr, event.type, host !== undefined)) return 'maybe';
  return compileFilter(expr, host ?? NO_HOST)(event) ? 'always' : 'never';
}

/** Whether an expression has the same value on every event of the type: fields that the type never has read as zero. */
function isFixed(expr: CheckedExpr, type: string, hostKnown: boolean): boolean {
  if (expr.kind === 'field' || expr.kind === 'has' || expr.kind === 'dyn') {
    const name = expr.kind === 'field' ? expr.field.name : expr.kind === 'has' ? expr.name : expr.root;
    if (name === 'event.type' || name === 'event.topic') return true;
    return name.startsWith('host.') ? hostKnown : !carries(type, name.slice(0, name.indexOf('.')));
  }
  return expr.kind !== 'item' && childrenOf(expr).every((child) => isFixed(child, type, hostKnown));
}
