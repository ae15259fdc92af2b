/** Whether a filter can be true for any event of a type, so that an agent can skip whole types. */
import { type BusEvent, carries } from '../../wire/event/event.js';
import { type CheckedExpr, childrenOf } from './checked.js';
import { compileFilter } from './compile.js';

/** `always`: true for every such event. `never`: true for none, because it is false or has no value. */
type Answer = 'always' | 'never' | 'maybe';

/** False only when no event of this type can match. `hostName` undefined: any host. */
export function canMatch(root: CheckedExpr, type: string, topic: string, hostName: string | undefined): boolean {
  return answer(root, bareEvent(type, topic), hostName) !== 'never';
}

/**
 * Whether an expression is true, or false, for every event of a type; neither when it has no value. Undefined: it
 * depends on the event.
 */
export function decidedFor(
  expr: CheckedExpr,
  type: string,
  topic: string,
  hostName: string | undefined,
): { readonly true: boolean; readonly false: boolean } | undefined {
  if (!isFixed(expr, type, hostName !== undefined)) return undefined;
  const event = bareEvent(type, topic);
  const holds = (tested: CheckedExpr): boolean => compileFilter(tested, hostName ?? '')(event);
  return { true: holds(expr), false: holds({ kind: 'not', type: 'bool', operand: expr }) };
}

function bareEvent(type: string, topic: string): BusEvent {
  return { type, topic, position: { epoch: 0, timeNs: 0n, lane: 0, tie: 0 }, wallNs: 0n };
}

function answer(expr: CheckedExpr, event: BusEvent, hostName: string | undefined): Answer {
  switch (expr.kind) {
    case 'and':
    case 'or':
      return logicAnswer(
        expr.operands.map((operand) => answer(operand, event, hostName)),
        expr.kind === 'and' ? 'never' : 'always',
      );
    case 'not':
      // The opposite of `never` may still have no value.
      return answer(expr.operand, event, hostName) === 'always' ? 'never' : decided(expr, event, hostName);
    case 'conditional': {
      const test = answer(expr.test, event, hostName);
      if (test === 'always') return answer(expr.yes, event, hostName);
      const no = answer(expr.no, event, hostName);
      if (test === 'never') return no === 'never' ? 'never' : 'maybe';
      return no === 'never' && answer(expr.yes, event, hostName) === 'never' ? 'never' : 'maybe';
    }
    default:
      return decided(expr, event, hostName);
  }
}

function logicAnswer(answers: readonly Answer[], decisive: 'always' | 'never'): Answer {
  if (answers.includes(decisive)) return decisive;
  return answers.includes('maybe') ? 'maybe' : answers[0]!;
}

/** Evaluates an expression that depends on the type alone. */
function decided(expr: CheckedExpr, event: BusEvent, hostName: string | undefined): Answer {
  if (!isFixed(expr, event.type, hostName !== undefined)) return 'maybe';
  return compileFilter(expr, hostName ?? '')(event) ? 'always' : 'never';
}

/** Whether an expression has the same value on every event of the type: fields that the type never has read as zero. */
function isFixed(expr: CheckedExpr, type: string, hostKnown: boolean): boolean {
  if (expr.kind === 'field' || expr.kind === 'has' || expr.kind === 'dyn') {
    const name = expr.kind === 'field' ? expr.field.name : expr.kind === 'has' ? expr.name : expr.root;
    if (name === 'event.type' || name === 'event.topic') return true;
    return name === 'host.name' ? hostKnown : !carries(type, name.slice(0, name.indexOf('.')));
  }
  return expr.kind !== 'item' && childrenOf(expr).every((child) => isFixed(child, type, hostKnown));
}
