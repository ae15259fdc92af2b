/** The tables of `backplane top`: which columns they have, how rows are sorted, filtered and written. */
import { compactBytes } from '../render/bytes.js';
import { type Column, fittedTable } from '../render/columns.js';
import { safeText } from '../render/text.js';
import type { NodeRates, Rate, Rates, SubscriptionRates } from './rates.js';

export const VIEWS = ['nodes', 'subscriptions'] as const;
export type View = (typeof VIEWS)[number];

export interface Order {
  /** Index of a column. */
  readonly column: number;
  readonly descending: boolean;
}

interface Cell<Row> extends Column {
  /** What rows are sorted by; text is sorted as text, what is not known comes last. */
  readonly value: (row: Row) => string | Rate;
  readonly text: (row: Row) => string;
}

const NODE_CELLS: readonly Cell<NodeRates>[] = [
  words('NODE', ({ node }) => node),
  words('STATE', ({ state }) => state),
  number('EVENTS/S', ({ recorded }) => recorded, count),
  number('MATCHED/S', ({ matched }) => matched, count),
  number('SHED/S', ({ shed }) => shed, count),
  number('LOST/S', ({ lost }) => lost, count, 2),
  number('SENT/S', ({ sentBytes }) => sentBytes, compactBytes),
  number('BUDGET', ({ budgetUsed }) => budgetUsed, percent),
  number('CPU', ({ cpu }) => cpu, percent),
  number('MEMORY', ({ residentBytes }) => residentBytes, compactBytes, 1),
];

const SUBSCRIPTION_CELLS: readonly Cell<SubscriptionRates>[] = [
  words('CLIENT', ({ client }) => client || '-'),
  { ...words<SubscriptionRates>('AS', ({ identity }) => identity), rank: 1 },
  words('PHASE', ({ phase }) => phase),
  number('EVENTS/S', ({ events }) => events, count),
  number('SENT/S', ({ sentBytes }) => sentBytes, compactBytes),
  number('SHED/S', ({ shed }) => shed, count),
  number('SKIPPED/S', ({ skipped }) => skipped, count, 2),
  number('LAG', ({ lagFrames }) => lagFrames, count),
  words('FILTER', ({ filter }) => filter || '(every event)'),
];

/** The titles of a view's columns, in their order. */
export function columnTitles(view: View): readonly string[] {
  return cells(view).map(({ title }) => title);
}

/** What is busiest comes first. */
export function defaultOrder(view: View): Order {
  return { column: columnTitles(view).indexOf('EVENTS/S'), descending: true };
}

/**
 * @param filter only rows that have this text somewhere, in any case
 * @returns the header and the rows, lines without newlines, at most `width` characters wide
 */
export function topTable(
  rates: Rates,
  view: View,
  order: Order,
  filter: string,
  width: number | undefined,
): readonly string[] {
  const shown =
    view === 'nodes'
      ? table(NODE_CELLS, rates.nodes, order, filter, width)
      : table(SUBSCRIPTION_CELLS, rates.subscriptions, order, filter, width);
  return shown.trimEnd().split('\n');
}

function table<Row>(
  columns: readonly Cell<Row>[],
  rows: readonly Row[],
  order: Order,
  filter: string,
  width: number | undefined,
): string {
  const by = columns[order.column] ?? columns[0]!;
  const sorted = [...rows].sort((a, b) => compare(by.value(a), by.value(b), order.descending));
  const marked = columns.map((column, index) => {
    return index === order.column ? { ...column, title: `${column.title}${order.descending ? '▼' : '▲'}` } : column;
  });
  const texts = sorted.map((row) => columns.map(({ text }) => text(row)));
  const wanted = filter.toLowerCase();
  const kept = texts.filter((row) => row.some((text) => text.toLowerCase().includes(wanted)));
  return fittedTable(marked, kept, width);
}

function compare(a: string | Rate, b: string | Rate, descending: boolean): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  const ascending = typeof a === 'string' || typeof b === 'string' ? compareText(String(a), String(b)) : a - b;
  return descending ? -ascending : ascending;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function cells(view: View): readonly Column[] {
  return view === 'nodes' ? NODE_CELLS : SUBSCRIPTION_CELLS;
}

function words<Row>(title: string, read: (row: Row) => string): Cell<Row> {
  return { title, value: read, text: (row) => safeText(read(row)) };
}

/** `rank`: see Column. */
function number<Row>(
  title: string,
  read: (row: Row) => Rate,
  text: (value: number) => string,
  rank?: number,
): Cell<Row> {
  const shown = (row: Row) => {
    const value = read(row);
    return value === undefined ? '-' : text(value);
  };
  return { title, align: 'right', value: read, text: shown, ...(rank === undefined ? {} : { rank }) };
}

/** Three digits or so: 0.3, 42, 1,234. */
function count(value: number): string {
  return value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString('en-US');
}

function percent(value: number): string {
  return `${(value * 100).toFixed(value < 0.0995 ? 1 : 0)}%`;
}
