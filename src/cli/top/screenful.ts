/** What `backplane top` looks like and what its keys do, without a terminal: a state, and lines made of it. */
import { compactBytes } from '../render/bytes.js';
import { wrapText } from '../render/columns.js';
import { safeText } from '../render/text.js';
import type { Rate, Rates } from './rates.js';
import { columnTitles, defaultOrder, type Order, topTable, VIEWS, type View } from './table.js';

export interface TopState {
  readonly view: View;
  readonly orders: Readonly<Record<View, Order>>;
  readonly filter: string;
  /** The filter is being typed. */
  readonly typing: boolean;
  /** Rows above the first one shown. */
  readonly scrolled: number;
  readonly paused: boolean;
}

/** A key as node:readline names it. */
export interface Key {
  readonly name?: string | undefined;
  readonly sequence?: string | undefined;
  readonly ctrl?: boolean | undefined;
}

const FILTER_CHARACTERS_MAX = 64;
const ROWS_PER_PAGE = 10;
const KEYS = 'tab view  ←→ sort  r reverse  / filter  ↑↓ scroll  space pause  q quit';

export function initialState(view: View, order: Order | undefined, filter: string): TopState {
  const orders = { nodes: defaultOrder('nodes'), subscriptions: defaultOrder('subscriptions') };
  if (order !== undefined) orders[view] = order;
  return { view, orders, filter, typing: false, scrolled: 0, paused: false };
}

/** The state after a key; undefined: it ends. */
export function afterKey(state: TopState, key: Key): TopState | undefined {
  if (key.ctrl && (key.name === 'c' || key.name === 'd')) return undefined;
  if (state.typing) return afterFilterKey(state, key);
  const order = state.orders[state.view];
  switch (key.name ?? key.sequence) {
    case 'q':
    case 'escape':
      return undefined;
    case 'tab':
      return { ...state, view: VIEWS[(VIEWS.indexOf(state.view) + 1) % VIEWS.length]!, scrolled: 0 };
    case 'left':
      return sortedBy(state, order.column - 1);
    case 'right':
      return sortedBy(state, order.column + 1);
    case 'r':
      return withOrder(state, { ...order, descending: !order.descending });
    case 'up':
      return scrolledBy(state, -1);
    case 'down':
      return scrolledBy(state, 1);
    case 'pageup':
      return scrolledBy(state, -ROWS_PER_PAGE);
    case 'pagedown':
      return scrolledBy(state, ROWS_PER_PAGE);
    case 'home':
      return { ...state, scrolled: 0 };
    case 'space':
      return { ...state, paused: !state.paused };
    default:
      return key.sequence === '/' ? { ...state, typing: true, filter: '', scrolled: 0 } : state;
  }
}

function afterFilterKey(state: TopState, { name, sequence = '' }: Key): TopState {
  if (name === 'return' || name === 'enter') return { ...state, typing: false };
  if (name === 'escape') return { ...state, typing: false, filter: '' };
  if (name === 'backspace') return { ...state, filter: [...state.filter].slice(0, -1).join('') };
  if (!/^[^\p{Cc}]$/u.test(sequence) || state.filter.length >= FILTER_CHARACTERS_MAX) return state;
  return { ...state, filter: state.filter + sequence };
}

function sortedBy(state: TopState, column: number): TopState {
  const columns = columnTitles(state.view).length;
  return withOrder(state, { ...state.orders[state.view], column: (column + columns) % columns });
}

function withOrder(state: TopState, order: Order): TopState {
  return { ...state, orders: { ...state.orders, [state.view]: order } };
}

function scrolledBy(state: TopState, rows: number): TopState {
  return { ...state, scrolled: Math.max(0, state.scrolled + rows) };
}

/** Exactly `height` lines or fewer, each at most `width` characters. */
export function screenful(state: TopState, rates: Rates, width: number, height: number): string[] {
  const [header = '', ...rows] = topTable(rates, state.view, state.orders[state.view], state.filter, width);
  const above = summary(rates).flatMap((line) => wrapText(line, width));
  const room = Math.max(1, height - above.length - 3);
  const first = Math.min(state.scrolled, Math.max(0, rows.length - room));
  const shown = rows.slice(first, first + room);
  const left = rows.length - first - shown.length;
  const lines = [...above, '', header, ...shown, statusLine(state, left)];
  return lines.slice(0, height).map((line) => [...line].slice(0, width).join(''));
}

/** The same once, for what is no terminal: every row of both tables. */
export function plainText(state: TopState, rates: Rates): string {
  const tables = VIEWS.map((view) => topTable(rates, view, state.orders[view], state.filter, undefined).join('\n'));
  return `${[summary(rates).join('\n'), ...tables].join('\n\n')}\n`;
}

function summary({ broker, nodes }: Rates): string[] {
  const facts = [
    `nodes ${broker.nodesConnected} of ${nodes.length}`,
    `subscriptions ${broker.subscriptions}`,
    `in ${rate(broker.ingested)}`,
    `out ${rate(broker.delivered)}`,
    `log ${compactBytes(broker.logBytes)}`,
  ];
  return [facts.join('  '), ...(broker.trouble === '' ? [] : [`trouble: ${safeText(broker.trouble)}`])];
}

function rate(value: Rate): string {
  return value === undefined ? '- events/s' : `${Math.round(value).toLocaleString('en-US')} events/s`;
}

function statusLine({ filter, typing, paused }: TopState, left: number): string {
  if (typing) return `filter: ${safeText(filter)}_`;
  const facts = [
    paused ? 'PAUSED' : '',
    filter === '' ? '' : `filter: ${safeText(filter)}`,
    left > 0 ? `${left} more below` : '',
    KEYS,
  ];
  return facts.filter((fact) => fact !== '').join('  ');
}
