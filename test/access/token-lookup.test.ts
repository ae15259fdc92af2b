/** Where the token of a broker is looked for, in which order, and which files and notes are believed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { newToken, tokenOfCredential } from '../../src/access/token.js';
import { notedCredential, tokenLookup } from '../../src/access/token-lookup.js';
import { notedTokenFile, noteToken, runtimeDirectory } from '../../src/access/token-note.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backplane-token-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function saved(name: string): { file: string; token: string } {
  const [file, token] = [join(dir, name), newToken()];
  writeFileSync(file, `${token}\n`);
  return { file, token };
}

const BROKER = '127.0.0.1:1';
const nowhere = () => ({ environment: {}, tokenFile: '', dataDir: join(dir, 'none'), dataDirGiven: true });

test('the token from the environment wins over the named file, which wins over the data directory', () => {
  const named = saved('named');
  mkdirSync(join(dir, 'data'));
  const own = saved('data/token');
  const inEnvironment = newToken();
  const sources = { ...nowhere(), dataDir: join(dir, 'data') };
  assert.deepEqual(tokenLookup(sources)(BROKER), { token: own.token, from: own.file });
  const withFile = { ...sources, tokenFile: named.file };
  assert.deepEqual(tokenLookup(withFile)(BROKER), { token: named.token, from: named.file });
  const withBoth = { ...withFile, environment: { BACKPLANE_TOKEN: ` ${inEnvironment}\n` } };
  assert.deepEqual(tokenLookup(withBoth)(BROKER), { token: inEnvironment, from: 'BACKPLANE_TOKEN' });
  assert.equal(tokenLookup({ ...sources, environment: { BACKPLANE_TOKEN: '' } })(BROKER)?.token, own.token);
  assert.equal(tokenLookup(nowhere())(BROKER), undefined);
});

test('the token is read anew for each call', () => {
  const { file, token } = saved('token');
  const lookup = tokenLookup({ ...nowhere(), tokenFile: file });
  assert.equal(lookup(BROKER)?.token, token);
  const next = newToken();
  writeFileSync(file, next);
  assert.equal(lookup(BROKER)?.token, next);
});

test('a named token file without a token is refused without showing its text, and a file that nobody named is skipped', () => {
  const secret = 'not a token, but secret';
  for (const environment of [{ BACKPLANE_TOKEN: secret }, { BACKPLANE_TOKEN: 'x'.repeat(9_000) }]) {
    const lookup = tokenLookup({ ...nowhere(), environment });
    assert.throws(
      () => lookup(BROKER),
      (error: Error) => {
        assert.match(error.message, /^BACKPLANE_TOKEN must hold a token, 32 to 8192 characters/);
        return !error.message.includes(secret);
      },
    );
  }
  const file = join(dir, 'token');
  const lookup = tokenLookup({ ...nowhere(), tokenFile: file });
  assert.throws(() => lookup(BROKER), /the token file .*\/token cannot be read: there is no such file/);
  writeFileSync(file, secret);
  assert.throws(
    () => lookup(BROKER),
    (error: Error) => !error.message.includes(secret),
  );
  assert.equal(tokenLookup({ ...nowhere(), dataDir: dir })(BROKER), undefined);
  rmSync(file);
  mkdirSync(file);
  assert.throws(() => lookup(BROKER), /is not a regular file/);
  assert.equal(tokenLookup({ ...nowhere(), dataDir: dir })(BROKER), undefined);
  symlinkSync('/dev/zero', join(dir, 'endless'));
  assert.throws(() => tokenLookup({ ...nowhere(), tokenFile: join(dir, 'endless') })(BROKER), /is not a regular file/);
});

test('an authorization header is accepted only as the word Bearer and one token', () => {
  const token = newToken();
  for (const value of [`Bearer ${token}`, `bearer   ${token} `]) assert.equal(tokenOfCredential(value), token);
  for (const value of [
    '',
    token,
    `Bearer`,
    `Bearer${token}`,
    `Bearer ${token},`,
    `Bearer a ${token}`,
    `Basic ${token}`,
  ])
    assert.equal(tokenOfCredential(value), undefined, value);
});

test('a token note is found by every address that leads to its broker, and by no other address', () => {
  const notes = join(dir, 'notes');
  const { forget } = noteToken(notes, '0.0.0.0:41', '/data/token');
  assert.equal(statSync(notes).mode & 0o777, 0o700);
  for (const address of ['0.0.0.0:41', '127.0.0.1:41', '127.0.0.2:41', 'localhost:41', 'LOCALHOST:41'])
    assert.equal(notedTokenFile(notes, address), '/data/token', address);
  for (const address of ['127.0.0.1:42', '192.0.2.1:41', 'example.com:41', '../notes/0.0.0.0:41'])
    assert.equal(notedTokenFile(notes, address), undefined, address);
  forget();
  assert.equal(notedTokenFile(notes, '127.0.0.1:41'), undefined);
  assert.deepEqual(readdirSync(notes), []);
  noteToken(notes, '192.0.2.7:41', '/data/token');
  assert.equal(notedTokenFile(notes, '192.0.2.7:41'), '/data/token');
  assert.equal(notedTokenFile(notes, '127.0.0.1:41'), undefined);
  noteToken(notes, '[::1]:43', '/six/token');
  for (const address of ['[::1]:43', 'localhost:43'])
    assert.equal(notedTokenFile(notes, address), '/six/token', address);
});

test('the note of a killed broker is not believed, and the next broker removes it', async () => {
  const notes = join(dir, 'notes');
  noteToken(notes, '127.0.0.1:41', '/data/token');
  const [name] = readdirSync(notes);
  const other = spawn('sleep', ['600']);
  const text = readFileSync(join(notes, name!), 'utf8').replace(/^\d+/, String(other.pid));
  // The pid lives, as another process than the one that wrote the note.
  writeFileSync(join(notes, name!), text);
  assert.equal(notedTokenFile(notes, '127.0.0.1:41'), undefined);
  other.kill('SIGKILL');
  await once(other, 'close');
  assert.equal(notedTokenFile(notes, '127.0.0.1:41'), undefined);
  writeFileSync(join(notes, 'rubbish'), 'x'.repeat(100_000));
  noteToken(notes, '127.0.0.1:42', '/data/token');
  assert.deepEqual(
    readdirSync(notes).map((note) => note.split('@')[0]),
    ['127.0.0.1:42'],
  );
});

test('a broker leaves notes of other pid namespaces alone, since it cannot see whether their brokers run', () => {
  const notes = join(dir, 'notes');
  noteToken(notes, '127.0.0.1:41', '/data/token');
  const [name] = readdirSync(notes);
  const path = join(notes, name!);
  // Of a broker that does not run, as far as this process can see.
  const gone = readFileSync(path, 'utf8').replace(/^\d+/, '4194305');
  writeFileSync(path, gone.replace(/\d+\n$/, '17\n'));
  noteToken(notes, '127.0.0.1:42', '/data/token');
  assert.equal(readdirSync(notes).length, 2);
  writeFileSync(path, gone);
  noteToken(notes, '127.0.0.1:42', '/data/token');
  assert.equal(readdirSync(notes).length, 1);
});

test('a removed note is written again with its directory, and the note of another broker is left alone', () => {
  const notes = join(dir, 'notes');
  const { keep, forget } = noteToken(notes, '127.0.0.1:41', '/data/token');
  rmSync(notes, { recursive: true });
  assert.equal(notedTokenFile(notes, '127.0.0.1:41'), undefined);
  keep();
  assert.equal(notedTokenFile(notes, '127.0.0.1:41'), '/data/token');
  const [name] = readdirSync(notes);
  writeFileSync(join(notes, name!), 'another broker\n/second/token\n');
  keep();
  assert.equal(readFileSync(join(notes, name!), 'utf8'), 'another broker\n/second/token\n');
  forget();
  assert.deepEqual(readdirSync(notes), [name]);
});

test('a note is removed only by the broker that wrote it', () => {
  const notes = join(dir, 'notes');
  const { forget } = noteToken(notes, '127.0.0.1:41', '/first/token');
  const [name] = readdirSync(notes);
  writeFileSync(join(notes, name!), '1:2:another broker\n/second/token\n');
  forget();
  assert.deepEqual(readdirSync(notes), [name]);
});

test('a note directory that others can enter or have made is not believed', () => {
  const notes = join(dir, 'notes');
  noteToken(notes, '127.0.0.1:41', '/data/token');
  for (const mode of [0o701, 0o710, 0o777]) {
    chmodSync(notes, mode);
    assert.equal(notedTokenFile(notes, '127.0.0.1:41'), undefined);
    assert.throws(() => noteToken(notes, '127.0.0.1:41', '/data/token'), /only this user can enter/);
  }
  chmodSync(notes, 0o700);
  symlinkSync(notes, join(dir, 'link'));
  assert.equal(notedTokenFile(join(dir, 'link'), '127.0.0.1:41'), undefined);
});

test('the runtime directory belongs to the user', () => {
  assert.equal(runtimeDirectory({ XDG_RUNTIME_DIR: '/run/user/7' }, 0), '/run/backplane');
  assert.equal(runtimeDirectory({ XDG_RUNTIME_DIR: '/run/user/7' }, 7), '/run/user/7/backplane');
  assert.equal(runtimeDirectory({ XDG_RUNTIME_DIR: 'relative' }, 7), undefined);
  assert.equal(runtimeDirectory({}, 7), undefined);
});

test('with the default data directory, the note of the address is read before the token file', {
  skip: process.geteuid?.() === 0 ? false : 'needs root',
}, () => {
  const own = saved('token');
  mkdirSync(join(dir, 'broker'));
  const noted = saved('broker/token');
  // A port that no broker can have.
  const address = `127.0.0.1:${70_000 + process.pid}`;
  const { forget } = noteToken('/run/backplane', address, noted.file);
  try {
    assert.equal(tokenLookup({ ...nowhere(), dataDir: dir, dataDirGiven: false })(address)?.from, noted.file);
    assert.equal(tokenLookup({ ...nowhere(), dataDir: dir, dataDirGiven: true })(address)?.from, own.file);
    rmSync(noted.file);
    assert.equal(tokenLookup({ ...nowhere(), dataDir: dir, dataDirGiven: false })(address)?.from, own.file);
  } finally {
    forget();
  }
});

test('a noted token file that cannot be read is as good as none, and one that can is the token', (t) => {
  const notes = runtimeDirectory(process.env);
  if (notes === undefined) return t.skip('this user has no runtime directory');
  const path = join(dir, 'noted');
  const { forget } = noteToken(notes, BROKER, path);
  t.after(forget);
  assert.equal(notedCredential(process.env, BROKER), undefined);
  const { token, file } = saved('noted');
  assert.deepEqual(notedCredential(process.env, BROKER), { token, from: file });
});
