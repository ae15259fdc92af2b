/** Events as lines of one format: compact, table, dict or json. */

import { timestampNs } from '../../subscriptions/timestamp.js';
import { TOPICS } from '../../wire/event/event.js';
import { eventToJson } from '../../wire/event/event-json.js';
import { JsonBytes } from '../../wire/event/event-json-bytes.js';
import type { EventMessage } from '../../wire/messages.js';
import type { ReceivedEvent } from '../../wire/received-batch.js';
import { Columns } from './columns.js';
import { applyFieldMask, leaves, maskPath, PROMISED, type ShownFields, valueAt, WHEN_AND_WHERE } from './field-mask.js';
import type { Palette } from './palette.js';
import { ProcessNames } from './process-names.js';
import { connectionText, subjectText, userText } from './subject.js';
import { jsonText, safeText, shellWords } from './text.js';
import { EventTimes, type TimeStyle } from './time.js';

export type OutputFormat = 'compact' | 'json' | 'table' | 'dict';

export interface EventLinesOptions {
  readonly palette: Palette;
  readonly mask: ShownFields | undefined;
  readonly times: TimeStyle;
  /** JSON goes to a terminal, so that control characters in it are escaped. */
  readonly terminal: boolean;
  /** Events say which selectors they match. */
  readonly selectors?: boolean;
}

/** One event of a batch as text that ends with a newline. `cursor` resumes behind it; '' where none does. */
export type EventLine = (node: string, topic: string, event: ReceivedEvent, cursor?: string) => string;

export interface EventLines {
  /** Printed once, in front of the first event. */
  readonly header: string;
  readonly line: EventLine;
}

const NODE_WIDTH_MAX = 24;
const SELECTORS_WIDTH_MAX = 24;
/** Every type fits, so that what follows stands in one column. */
const TYPE_WIDTH = Math.max(
  ...Object.values(TOPICS).flatMap(({ types }) => types.map((type) => shortType(type).length)),
);

export function eventLines(format: OutputFormat, options: EventLinesOptions): EventLines {
  switch (format) {
    case 'compact':
      return { header: '', line: compactLine(options) };
    case 'json':
      return { header: '', line: jsonLine(options) };
    case 'dict':
      return { header: '', line: dictLine(options) };
    case 'table':
      return options.mask === undefined ? eventTable(options) : maskTable(options.mask, options.selectors);
  }
}

function jsonLine({ mask, terminal, selectors }: EventLinesOptions): EventLine {
  const bytes = new JsonBytes();
  return (node, topic, event, cursor = '') => {
    // Nothing is to be left out or escaped: no object is needed.
    if (mask === undefined && !terminal && bytes.openEvent(event.bytes, 0, event.bytes.length, node, topic)) {
      if (selectors) bytes.text(`,"selectors":${JSON.stringify(event.selectors)}`);
      bytes.text(cursor === '' ? '}\n' : `,"cursor":${JSON.stringify(cursor)}}\n`);
      return bytes.takeText();
    }
    const json = eventToJson(event.message, node, topic);
    const shown = mask === undefined ? json : applyFieldMask(json, [...PROMISED, ...mask]);
    const masked = selectors ? { ...shown, selectors: [...event.selectors] } : shown;
    return `${jsonText(cursor === '' ? masked : { ...masked, cursor }, terminal)}\n`;
  };
}

function compactLine({ palette, mask, times, selectors }: EventLinesOptions): EventLine {
  const names = new ProcessNames();
  const clock = new EventTimes(times);
  let nodeWidth = 0;
  let selectorsWidth = 0;
  return (node, topic, { message: event, selectors: matched }) => {
    const name = safeText(node);
    nodeWidth = Math.max(nodeWidth, Math.min(name.length, NODE_WIDTH_MAX));
    const type = safeText(shortType(event.type));
    const subject =
      mask === undefined
        ? subjectText(node, event, { palette, names })
        : maskText(eventToJson(event, node, topic), mask);
    names.learn(node, event);
    const time = palette.dim(event.time ? clock.text(timestampNs(event.time)) : '--:--:--.------');
    const nodeCell = palette.node(node)(name.padEnd(nodeWidth));
    const ids = selectorsText(matched);
    selectorsWidth = Math.max(selectorsWidth, Math.min(ids.length, SELECTORS_WIDTH_MAX));
    const selectorsCell = selectors ? `${ids.padEnd(selectorsWidth)}  ` : '';
    return `${time} ${nodeCell}  ${selectorsCell}${palette.type(event.type)(type.padEnd(TYPE_WIDTH))}  ${subject}\n`;
  };
}

function selectorsText(ids: readonly string[]): string {
  return safeText(ids.join(','));
}

function dictLine({ palette, mask, selectors }: EventLinesOptions): EventLine {
  let first = true;
  return (node, topic, { message: event, selectors: matched }) => {
    // People look for time and node first, so these fields lead, whatever their place in the message.
    const { time = '', node: from = '', topic: on = '', ...rest } = eventToJson(event, node, topic);
    const json = { time, node: from, topic: on, ...(selectors ? { selectors: [...matched] } : {}), ...rest };
    const lines = [
      ...leaves(mask === undefined ? json : applyFieldMask(json, [...WHEN_AND_WHERE, ['selectors'], ...mask])),
    ].map(([path, value]) => `${palette.dim(`${safeText(path)}:`)} ${valueText(value)}\n`);
    const separator = first ? '' : '\n';
    first = false;
    return separator + lines.join('');
  };
}

function eventTable({ palette, times, selectors }: EventLinesOptions): EventLines {
  const names = new ProcessNames();
  // Every row has its date, because a column is as wide as its widest cell anyway.
  const clock = new EventTimes(times.format === 'clock' ? { ...times, format: 'date' } : times);
  const columns = new Columns([
    { title: 'TIME', widthMin: times.utc ? 27 : 32 },
    { title: 'NODE', widthMin: 8 },
    ...(selectors ? [{ title: 'SELECTORS' }] : []),
    { title: 'TYPE', widthMin: TYPE_WIDTH },
    { title: 'PID', align: 'right', widthMin: 7 },
    { title: 'PARENT', align: 'right', widthMin: 7 },
    { title: 'USER', widthMin: 5 },
    { title: 'NAME', widthMin: 15 },
    { title: 'WHAT' },
  ]);
  const line: EventLine = (node, _topic, { message: event, selectors: matched }) => {
    const { process } = event;
    const cells = [
      event.time ? clock.text(timestampNs(event.time)) : '',
      safeText(node),
      ...(selectors ? [selectorsText(matched)] : []),
      safeText(shortType(event.type)),
      process ? String(process.pid) : '',
      process && process.parentPid !== 0 ? String(process.parentPid) : '',
      process ? userText(process) : '',
      process ? safeText(process.comm) : '',
      whatText(node, event, names),
    ];
    names.learn(node, event);
    return `${columns.row(cells)}\n`;
  };
  return { header: palette.bold(`${columns.header()}`).concat('\n'), line };
}

/** The part of the event that the other columns do not show. */
function whatText(node: string, event: EventMessage, names: ProcessNames): string {
  const { process } = event;
  if (event.type === 'process.exec' && process) {
    const path = process.executable?.path ?? '';
    const words = process.commandArgsMissed ? '(arguments missed)' : shellWords(process.commandArgs, 1024);
    return [safeText(path), words, process.commandArgsTruncated ? '…' : ''].filter((part) => part !== '').join(' ');
  }
  if (event.type === 'process.rename' && process) return `was ${safeText(process.previousComm)}`;
  if (event.network) return connectionText(event);
  return process && !event.signal && !event.raw && !event.syscall && !event.file
    ? ''
    : subjectText(node, event, { names });
}

function maskTable(mask: ShownFields, selectors = false): EventLines {
  const shown = mask.map((path) => ({ title: maskPath(path.join('.')).toUpperCase(), widthMin: 8 }));
  const columns = new Columns(selectors ? [{ title: 'SELECTORS', widthMin: 9 }, ...shown] : shown);
  const line: EventLine = (node, topic, { message, selectors: matched }) => {
    const json = eventToJson(message, node, topic);
    const cells = mask.map((path) => valueText(valueAt(json, path)));
    return `${columns.row(selectors ? [selectorsText(matched), ...cells] : cells)}\n`;
  };
  return { header: `${columns.header()}\n`, line };
}

function maskText(json: Readonly<Record<string, unknown>>, mask: ShownFields): string {
  const shown = [...leaves(applyFieldMask(json, mask))];
  if (shown.length === 0) return '-';
  return shown.map(([path, value]) => `${safeText(maskPath(path))}=${valueText(value)}`).join(' ');
}

function valueText(value: unknown): string {
  if (value === undefined) return '';
  if (Array.isArray(value)) return shellWords(value.map(String), 64 * 1024);
  return safeText(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** `exec`, `tcp connect`, `host loss`, `vm_readv`: short, as a system call's whole name is in its text. */
function shortType(type: string): string {
  return type.replace(/^(process|network|security)\.(process_)?/, '').replaceAll('.', ' ');
}
