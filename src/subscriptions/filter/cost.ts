/**
 * Refuses a filter whose evaluation could cost too much, by an upper bound, so that no filter costs a node more than a
 * few milliseconds an event.
 */
import { ARGUMENTS_MAX, FILTER_PATTERN_INSTRUCTIONS_MAX, FILTER_STEPS_MAX } from '../../limits.js';
import { type CheckedExpr, childrenOf } from './checked.js';
import { tooLarge } from './pattern.js';
import { refusal } from './refusal.js';

/** @throws BackplaneError filter_invalid. */
export function checkCost(root: CheckedExpr, text: string): void {
  const instructions = instructionsOf(root);
  if (instructions > FILTER_PATTERN_INSTRUCTIONS_MAX) throw refusal(text, 0, tooLarge(instructions));
  const steps = loopStepsOf(root);
  if (steps > FILTER_STEPS_MAX) {
    throw refusal(text, 0, `comprehensions may take at most ${FILTER_STEPS_MAX} steps in all, got up to ${steps}`);
  }
}

/** Arguments are longer in all than any one string: patterns that go over them count twice. */
function instructionsOf(expr: CheckedExpr): number {
  const own = expr.kind === 'matches' ? expr.pattern.instructions : 0;
  const below = childrenOf(expr).reduce((sum, child) => sum + instructionsOf(child), own);
  return expr.kind === 'comprehension' ? below + instructionsOf(expr.body) : below;
}

function loopStepsOf(expr: CheckedExpr): number {
  if (expr.kind === 'comprehension') return loopStepsOf(expr.list) + ARGUMENTS_MAX * nodesOf(expr.body);
  return childrenOf(expr).reduce((sum, child) => sum + loopStepsOf(child), 0);
}

function nodesOf(expr: CheckedExpr): number {
  const own = expr.kind === 'string_test_any' ? expr.texts.length : 1;
  return childrenOf(expr).reduce((sum, child) => sum + nodesOf(child), own);
}
