/** Keys of a state as subjects of its stream. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOfSubject, subjectOfKey } from '../../../../src/broker/cluster/nats/state-subject.js';

test('any key has a subject of its own, and is found in it again', () => {
  const keys = ['a', 'a.b', 'a.b.c', 'a.b=2Ec', '', '.', 'ä.>', 'x.*', 'x. ', '=tick.b', '=', 'a.'];
  const subjects = keys.map((key) => subjectOfKey('p', key));
  assert.equal(new Set(subjects).size, keys.length);
  for (const subject of subjects) assert.match(subject, /^p(\.[A-Za-z0-9=_-]+){1,2}$/);
  assert.deepEqual(
    subjects.map((subject) => keyOfSubject('p', subject)),
    keys,
  );
  for (const subject of ['p', 'q.a', 'p.=tick.b', 'p.a.b.c', 'p.=2', 'p.=61', 'p.a.=e4']) {
    assert.equal(keyOfSubject('p', subject), undefined, subject);
  }
});
