/** The status line of a terminal, and writing to slow, full and closed outputs. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { Screen } from '../../../src/cli/observe/screen.js';
import { takesEscapes } from '../../../src/cli/render/palette.js';
import { until } from '../../harness/until.js';

const CLEAR = '\r\x1b[2K';

/** Keeps what is written; takes it when told to. */
class Terminal extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 20;
  /** Calls that wait to be taken; undefined: taken at once. */
  held: (() => void)[] | undefined;

  constructor(isTTY: boolean) {
    super({ highWaterMark: 4, decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk;
    if (this.held === undefined) done();
    else this.held.push(done);
  }
}

test('on a terminal the status line stays below the events and is cut to the width', async () => {
  const terminal = new Terminal(true);
  const screen = new Screen(terminal, terminal, true);
  screen.status('12 events, 10:02:03 reached');
  await until('what is shown', () => terminal.text !== '');
  assert.equal(terminal.text, `${CLEAR}12 events, 10:02:03`);
  await screen.print('event\n');
  screen.notice('gap');
  screen.status('');
  assert.equal(terminal.text, `${CLEAR}12 events, 10:02:03${CLEAR}event\n-- gap\n`);
});

test('a status that is removed before its delay is never shown', async () => {
  const terminal = new Terminal(true);
  const screen = new Screen(terminal, terminal, true);
  screen.status('x');
  screen.status('');
  screen.status('y');
  await until('what is shown', () => terminal.text !== '');
  assert.equal(terminal.text, `${CLEAR}y`);
});

test('a terminal that takes no escape sequences gets none', () => {
  const terminal = new Terminal(true);
  const screen = new Screen(terminal, terminal, takesEscapes(terminal, { TERM: 'dumb' }));
  screen.status('12 events');
  screen.notice('gap');
  screen.status('');
  assert.equal(terminal.text, '-- gap\n');
});

test('a pipe gets no status line, and each notice is one line of safe text', () => {
  const err = new Terminal(false);
  const screen = new Screen(new Terminal(false), err);
  screen.status('loading');
  screen.notice('a\nb\x1b[31m');
  assert.equal(err.text, '-- a\\nb\\x1b[31m\n');
});

test('print waits for a slow reader, and goes on when it reads or is gone', async () => {
  const out = new Terminal(false);
  const screen = new Screen(out, new Terminal(false));
  out.held = [];
  let printed = 0;
  const first = screen.print('12345678').then(() => printed++);
  await new Promise(setImmediate);
  assert.equal(printed, 0);
  out.held.shift()?.();
  await first;
  const second = screen.print('12345678').then(() => printed++);
  out.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
  await second;
  assert.equal(printed, 2);
  assert.equal(screen.gone.aborted, true);
});

test('what was printed to an output that has failed is not taken', async () => {
  const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error('disk full')) });
  const screen = new Screen(full, new Terminal(false), false);
  await screen.print('event\n');
  await until('the failure', () => screen.gone.aborted);
  await screen.print('event\n');
  assert.deepEqual([screen.idle, await screen.taken()], [false, false]);
});
