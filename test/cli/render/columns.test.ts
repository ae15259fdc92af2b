/** Tables that are fitted to the width of a terminal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Column, fittedTable, tableText, wrapText } from '../../../src/cli/render/columns.js';

const COLUMNS: readonly Column[] = [
  { title: 'NAME' },
  { title: 'SIZE', align: 'right', rank: 1 },
  { title: 'COUNT', align: 'right', rank: 2 },
  { title: 'WHAT', wraps: true },
];
const ROWS = [
  ['alpha', '1.0 MiB', '10', 'a word or two'],
  ['beta-gamma', '22.0 MiB', '2000', 'many words that do not fit into what is left of the line'],
];

test('a table that fits, or has no width limit, has every column', () => {
  assert.equal(fittedTable(COLUMNS, ROWS, undefined), tableText(COLUMNS, ROWS));
  assert.equal(fittedTable(COLUMNS, ROWS, 200), tableText(COLUMNS, ROWS));
});

test('columns of the highest rank are left out first, and long text is wrapped below', () => {
  assert.equal(
    fittedTable(COLUMNS, ROWS, 50),
    [
      'NAME            SIZE  WHAT',
      'alpha        1.0 MiB  a word or two',
      'beta-gamma  22.0 MiB  many words that do not fit',
      '                      into what is left of the',
      '                      line',
      '',
    ].join('\n'),
  );
  assert.match(fittedTable(COLUMNS, ROWS, 40), /^NAME {8}WHAT\n/);
});

test('a name that is too long is cut when no other column can be left out', () => {
  const table = fittedTable([{ title: 'NODE' }, { title: 'LOST', align: 'right' }], [['n'.repeat(253), '0']], 40);
  assert.equal(table.split('\n')[1], `${'n'.repeat(33)}…     0`);
});

test('no line is longer than the width, and no word of a text is lost', () => {
  const cell = fc.stringMatching(/^[a-zé€ 0-9]{0,60}$/);
  const rows = fc.array(fc.tuple(cell, fc.stringMatching(/^\d{1,8}$/), fc.stringMatching(/^\d{1,6}$/), cell), {
    maxLength: 5,
  });
  fc.assert(
    fc.property(rows, fc.integer({ min: 40, max: 160 }), (cells, width) => {
      const lines = fittedTable(COLUMNS, cells, width).split('\n');
      for (const line of lines) assert.ok([...line].length <= width, `${[...line].length} > ${width}: ${line}`);
      for (const [, , , what] of cells) {
        const wrapped = wrapText(what, width);
        assert.equal(wrapped.join('').replaceAll(' ', ''), what.replaceAll(' ', ''));
      }
    }),
  );
});
