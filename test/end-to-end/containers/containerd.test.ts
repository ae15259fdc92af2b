/**
 * Whose event it is, where a real runtime says so: pods made over the Container Runtime Interface of Debian's containerd,
 * observed by the real commands. One runtime and one bus for all, as each takes seconds to start.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { CriRuntime } from '../../../src/sensor-agent/source/containers/cri-runtime.js';
import { Bus, cannotTrace, Observer } from '../../harness/bus/bus.js';
import { Containerd, cannotRunPods, IMAGE, type Pod } from '../../harness/containers/containerd.js';
import { SocketRelay } from '../../harness/containers/socket-relay.js';

/** It takes some ten seconds. */
const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = IS_LONG ? cannotTrace || cannotRunPods() : 'part of npm run check: containerd takes seconds to start';

const TICKS = 'while :; do /bin/busybox true; /bin/busybox sleep 0.2; done';
const EXEC = 'event.type == "process.exec"';

let runtime: Containerd;
let bus: Bus;
let relay: SocketRelay;
before(async () => {
  if (skip) return;
  runtime = await Containerd.start();
  relay = new SocketRelay(join(runtime.dir, 'relay.sock'), runtime.socket);
  // One that is there before the agent is.
  await runtime.run(await runtime.runPod('old-1', 'shop'), 'ticker', ['/bin/busybox', 'sh', '-c', TICKS]);
  bus = await Bus.start({ BACKPLANE_AGENT_CONTAINERS: relay.path });
});
after(async () => {
  if (skip) return;
  await bus.destroy();
  relay.close();
  await runtime.stop();
});

test('the first exec of new containers comes with its names, selected by namespace, live and from the recorder', {
  skip,
}, async () => {
  const observer = await bus.follow('--topic', 'process', '--filter', `${EXEC} && k8s.namespace.name == "shop"`);
  const shop = await runtime.runPod('web-1', 'shop');
  const other = await runtime.runPod('db-1', 'data');
  const marks = ['a', 'b', 'c'].map((letter) => `first-${letter}-${process.pid}`);
  // Programs that end at once, so that nothing but the first exec is there to be seen.
  const run = (pod: Pod) => Promise.all(marks.map((mark) => runtime.run(pod, mark, ['/bin/busybox', 'true'])));
  const [ids, others] = await Promise.all([run(shop), run(other)]);
  for (const [at, id] of ids.entries()) {
    const { container, k8s } = await observer.sees((event) => event.container?.id === id);
    const image = { name: IMAGE.slice(0, IMAGE.lastIndexOf(':')), tags: [IMAGE.slice(IMAGE.lastIndexOf(':') + 1)] };
    assert.deepEqual(container, { id, name: marks[at], image });
    assert.deepEqual([k8s?.pod.name, k8s?.namespace.name], ['web-1', 'shop']);
  }
  const tick = await observer.sees(({ container }) => container?.name === 'ticker');
  assert.equal(tick.k8s?.pod.name, 'old-1');
  await observer.stop('SIGINT');
  const passed = observer.events.filter(({ container }) => others.includes(container!.id) && !container!.unresolved);
  assert.deepEqual(passed, []);
  const filter = `${EXEC} && k8s.pod.name == "web-1"`;
  const past = new Observer(bus, ['--since', '10m', '--topic', 'process', '--filter', filter], 'jsonpb');
  await past.exited;
  for (const id of ids) {
    const [again, live] = [past, observer].map(({ events }) => events.filter(({ container }) => container?.id === id));
    assert.deepEqual(again, live);
  }
});

test('the older version of the interface names the same, in the bytes of a runtime that serves both', {
  skip,
}, async () => {
  const [now, before] = [new CriRuntime(runtime.socket), new CriRuntime(runtime.socket, ['v1alpha1', 'v1alpha2'])];
  const pod = await runtime.runPod('both-1', 'shop');
  const ids = [pod.id, await runtime.run(pod, 'both', ['/bin/busybox', 'sleep', '1000000'])];
  const found = await before.find(ids);
  assert.deepEqual(
    found.map(({ id, name, pod: of, namespace }) => [id, name, of, namespace]),
    ids.map((id, at) => [id, [undefined, 'both'][at], 'both-1', 'shop']),
  );
  assert.deepEqual(found, await now.find(ids));
  const byId = async (from: CriRuntime) => [...(await from.list())].sort((a, b) => a.id.localeCompare(b.id));
  assert.deepEqual(await byId(before), await byId(now));
  for (const each of [now, before]) each.close();
});

test('while the runtime hangs, events of new containers come without names and pass every filter on them', {
  skip,
}, async () => {
  const observer = await bus.follow('--topic', 'process', '--filter', `${EXEC} && k8s.namespace.name == "nowhere"`);
  const pod = await runtime.runPod('late-1', 'shop');
  relay.hold();
  const id = await runtime.run(pod, 'late', ['/bin/busybox', 'sh', '-c', TICKS]);
  const event = await observer.sees(({ container }) => container?.id === id);
  assert.deepEqual(event.container, { id, unresolved: true });
  assert.equal(event.k8s, undefined);
  relay.release();
  const named = await bus.follow('--topic', 'process', '--filter', `${EXEC} && container.name == "late"`);
  await named.sees(({ container }) => container?.name === 'late');
  await Promise.all([observer, named].map((each) => each.stop('SIGINT')));
});
