/** What /metrics says is what docs/metrics.md explains, and no more. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { after, before, test } from 'node:test';
import { TestAuthority } from '../harness/access/certificates.js';
import { Harness } from '../harness/broker/harness.js';

let harness: Harness;
let text: string;

before(async () => {
  harness = new Harness();
  const own = await TestAuthority.make('metrics');
  // Some metrics are only of brokers with TLS.
  harness.tls = await own.broker();
  await harness.startBroker();
  await harness.delivered([1, 2]);
  const asked = get(`https://${harness.broker.httpAddress}/metrics`, { ca: readFileSync(own.ca), agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  text = Buffer.concat(await response.toArray()).toString();
});

after(() => harness.destroy());

test('docs/metrics.md explains every metric, with its type and its labels, and no other', () => {
  const served = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
  const rows = [
    ...readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `([a-z0-9_]+)(?:\{([a-z_,]+)\})?` \| (\w+) \|/gm),
  ];
  const explained = new Map(rows.map(([, name, , type]) => [name!, type!]));
  assert.deepEqual([...explained].sort(), [...served].sort());
  for (const [, name, labels = ''] of rows) {
    const used = new Set<string>();
    for (const [, all] of text.matchAll(new RegExp(`^${name}(?:_bucket)?\\{(.*?)\\} `, 'gm')))
      for (const [, label] of all!.matchAll(/(\w+)="/g)) if (label !== 'le') used.add(label!);
    for (const label of used) assert.ok(labels.split(',').includes(label), `${name}: ${label} is not explained`);
  }
});

test('alerts and dashboard ask for metrics that there are', () => {
  const served = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
  for (const file of ['deploy/prometheus/backplane.rules.yaml', 'deploy/grafana/backplane.json']) {
    const names = new Set(readFileSync(file, 'utf8').match(/\bbackplane_[a-z0-9_]+/g));
    assert.ok(names.size > 5, file);
    for (const name of names) {
      const histogram = name.replace(/_(bucket|count|sum)$/, '');
      assert.ok(served.has(name) || served.get(histogram) === 'histogram', `${file} has ${name}, which is not served`);
    }
  }
});

test('a histogram is cumulative, and its count is what was observed', () => {
  const buckets = [...text.matchAll(/^backplane_fsync_seconds_bucket\{le="(\S+)"\} (\d+)$/gm)];
  const counts = buckets.map(([, , count]) => Number(count));
  assert.equal(buckets.at(-1)?.[1], '+Inf');
  assert.deepEqual(
    counts,
    counts.toSorted((a, b) => a - b),
  );
  assert.ok(counts.at(-1)! > 0, 'the log of a broker that has a node has synced');
  assert.equal(Number(/^backplane_fsync_seconds_count (\d+)$/m.exec(text)?.[1]), counts.at(-1));
});
