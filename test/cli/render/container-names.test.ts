/** Whose event it is, in a line: the pod and its namespace, else the container, else its id. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { BASH, wireEvent } from '../../harness/bus/event-fixture.js';
import { lines, show } from '../../harness/shown-lines.js';

const ID = 'abcdef0123456789abcdef';

test('a container is shown by its names, and by its id where they are not known', () => {
  const shown = (rest: Partial<BusEvent>) =>
    /pid 100 ← 1(.*)\n/.exec(show(lines('compact').line, wireEvent('process.fork', { process: BASH, ...rest })))?.[1];
  const k8s = { podName: 'web-1', namespaceName: 'shop' };
  assert.equal(shown({ container: { id: ID, name: 'nginx' }, k8s }), ' in shop/web-1/nginx');
  assert.equal(shown({ container: { id: ID }, k8s }), ' in shop/web-1');
  assert.equal(shown({ container: { id: ID, name: 'nginx' } }), ' in nginx');
  assert.equal(shown({ container: { id: ID } }), ' in abcdef012345');
  assert.equal(shown({ container: { id: ID, unresolved: true } }), ' in abcdef012345 (not resolved)');
  assert.equal(shown({}), '');
});
