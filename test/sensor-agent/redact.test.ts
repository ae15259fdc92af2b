import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redactArguments } from '../../src/sensor-agent/redact.js';

const MASKED: readonly [string[], string[]][] = [
  [
    ['mysql', '--password=hunter2'],
    ['mysql', '--password=***'],
  ],
  [
    ['mysql', '--password', 'hunter2', '-h', 'db'],
    ['mysql', '--password', '***', '-h', 'db'],
  ],
  [
    ['curl', 'https://bob:hunter2@example.org/x'],
    ['curl', 'https://bob:***@example.org/x'],
  ],
  [
    ['env', 'AWS_SECRET_ACCESS_KEY=abc/def+1'],
    ['env', 'AWS_SECRET_ACCESS_KEY=***'],
  ],
  [
    ['app', 'token=abc', 'x=1'],
    ['app', 'token=***', 'x=1'],
  ],
  [
    ['sh', '-c', 'export API_KEY="s3cr3t"; run --token abc now'],
    ['sh', '-c', 'export API_KEY="***"; run --token *** now'],
  ],
  [
    ['curl', '-H', 'Authorization: Bearer abc.def.ghi'],
    ['curl', '-H', 'Authorization: Bearer ***'],
  ],
  [
    ['git', 'clone', 'https://ghp_0123456789abcdefghijABCDEFGHIJ012345@github.example/x'],
    ['git', 'clone', 'https://***@github.example/x'],
  ],
  [
    ['psql', 'postgres://app:p%40ss@db:5432/app?sslmode=off'],
    ['psql', 'postgres://app:***@db:5432/app?sslmode=off'],
  ],
  [
    ['x', 'DB_PASSWORD=a', 'DB_PASSWD=b', 'client_secret:c'],
    ['x', 'DB_PASSWORD=***', 'DB_PASSWD=***', 'client_secret:***'],
  ],
  [
    ['aws', 'AKIAIOSFODNN7EXAMPLE'],
    ['aws', '***'],
  ],
];

const KEPT: readonly string[][] = [
  ['ls', '-la', '/home/passwords'],
  ['cat', '/etc/passwd'],
  ['curl', 'https://example.org/path@v2'],
  ['ssh', 'bob@example.org'],
  ['', '-', '--', '='],
];

test('secrets in arguments are masked and counted', () => {
  for (const [given, expected] of MASKED) {
    const { args, redactions } = redactArguments(given);
    assert.deepEqual(args, expected);
    assert.equal(redactions, expected.join(' ').split('***').length - 1, given.join(' '));
  }
});

test('arguments without a secret are left as they are', () => {
  for (const given of KEPT) assert.deepEqual(redactArguments(given), { args: given, redactions: 0 });
});

test('a flag whose value is another flag hides nothing of the latter', () => {
  assert.deepEqual(redactArguments(['x', '--password', '--verbose']).args, ['x', '--password', '--verbose']);
});
