/** What a subscription would do, for people: one line per stage, in the order that events pass them. */
import type { ExplainResponse__Output } from '../../wire/messages.js';
import { fittedTable } from './columns.js';
import { safeText } from './text.js';

export function planText(answer: ExplainResponse__Output, width?: number): string {
  const { plan, nodes } = answer;
  const rows = [
    ...(plan?.selectors.length ? [] : [['filter', plan?.filter || '(every event)']]),
    ['topics', plan?.topics.join(', ') || '(every topic)'],
    ['nodes', nodes.join(', ') || '(none connected)'],
    ...(plan?.selectors ?? []).flatMap(({ selector, filter, topics, stages }) => [
      ['selector', selector],
      ['filter', filter],
      ['topics', topics.join(', ')],
      ...stages.map((stage) => [stage.place, stage.text]),
    ]),
    ...(plan?.selectors.length ? [['stream', 'all selectors together']] : []),
    ...(plan?.stages ?? []).map((stage) => [stage.place, stage.text]),
  ];
  return fittedTable(
    [{ title: 'PLACE' }, { title: 'WHAT RUNS THERE', wraps: true }],
    rows.map((row) => row.map(safeText)),
    width,
  );
}
