/** Log lines for people. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logLine } from '../../../src/cli/render/log-line.js';
import { COLOURED, PLAIN } from '../../../src/cli/render/palette.js';
import { timeText } from '../../../src/cli/render/time.js';

const TIME_MS = 1_795_850_000_123;
const time = timeText(BigInt(TIME_MS) * 1_000_000n);
const line = (entry: object) =>
  JSON.stringify({ level: 30, time: TIME_MS, pid: 1, hostname: 'h', name: 'broker', ...entry });

test('a log line for people has time, level, source and facts', () => {
  assert.equal(logLine(line({ msg: 'stopping' }), PLAIN), `${time} info  broker: stopping\n`);
  assert.equal(
    logLine(line({ level: 40, code: 'x', count: 3, node: { a: 1 }, msg: 'odd' }), PLAIN),
    `${time} warn  broker: odd (code=x count=3 node={"a":1})\n`,
  );
  assert.match(logLine(line({ level: 50, msg: 'bad' }), COLOURED), /\x1b\[1;31merror\x1b\[0m broker: bad\n$/);
});

test('text from a peer stays on one log line and moves no cursor', () => {
  const text = logLine(line({ msg: 'a\nb\x1b[2J\u009b31m', peer: '\u202e\x07' }), PLAIN);
  assert.equal(text, `${time} info  broker: a\\nb\\x1b[2J\\u009b31m (peer=\\u202e\\x07)\n`);
  assert.equal(logLine('not json\x1b[0m\n', PLAIN), 'not json\\x1b[0m\n');
});
