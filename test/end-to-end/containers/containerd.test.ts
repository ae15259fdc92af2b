/**
 * Whose event it is, where a real runtime says so: pods made over the Container Runtime Interface of Debian's containerd,
 * observed by the real commands. One runtime and one bus for all, as each takes seconds to start.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Bus, cannotTrace, Observer } from '../../harness/bus/bus.js';
import { Containerd, cannotRunPods, IMAGE } from '../../harness/containers/containerd.js';
import { SocketRelay } from '../../harness/containers/socket-relay.js';

const skip = cannotTrace || cannotRunPods();

const EXEC = 'event.type == "process.exec"';

let runtime: Containerd;
let bus: Bus;
let relay: SocketRelay;
before(async () => {
  if (skip) return;
  runtime = await Containerd.start();
  relay = new SocketRelay(join(runtime.dir, 'relay.sock'), runtime.socket);
  // One that is there before the agent is.
  await runtime.run(await runtime.runPod('old-1', 'shop'), 'ticker', [
    '/bin/busybox',
    'sh',
    '-c',
    'while :; do /bin/busybox true tick; sleep 0.2; done',
  ]);
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
  for (const mark of marks) await runtime.run(other, `other-${mark}`, ['/bin/busybox', 'true', `not-${mark}`]);
  const ids = new Map<string, string>();
  for (const mark of marks) ids.set(mark, await runtime.run(shop, mark, ['/bin/busybox', 'true', mark]));
  for (const mark of marks) {
    const { container, k8s } = await observer.sees(({ process }) => process?.commandArgs?.at(-1) === mark);
    const [name, tag] = [IMAGE.slice(0, IMAGE.lastIndexOf(':')), IMAGE.slice(IMAGE.lastIndexOf(':') + 1)];
    assert.deepEqual(container, { id: ids.get(mark), name: mark, image: { name, tags: [tag] } });
    assert.deepEqual([k8s?.pod.name, k8s?.namespace.name], ['web-1', 'shop']);
  }
  const tick = await observer.sees(({ process }) => process?.commandArgs?.at(-1) === 'tick');
  assert.deepEqual([tick.container?.name, tick.k8s?.pod.name], ['ticker', 'old-1']);
  await observer.stop('SIGINT');
  const not = observer.events.filter(
    ({ process, container }) => process?.commandArgs?.at(-1)?.startsWith('not-') && !container?.unresolved,
  );
  assert.deepEqual(not, []);
  const past = new Observer(
    bus,
    ['--since', '10m', '--topic', 'process', '--filter', `${EXEC} && k8s.pod.name == "web-1"`],
    'jsonpb',
  );
  await past.exited;
  for (const mark of marks) {
    const again = past.events.find(({ process }) => process?.commandArgs?.at(-1) === mark);
    const live = observer.events.find(({ process }) => process?.commandArgs?.at(-1) === mark);
    assert.deepEqual(again, live);
  }
});

test('while the runtime hangs, events of new containers come without names and pass every filter on them', {
  skip,
}, async () => {
  const observer = await bus.follow('--topic', 'process', '--filter', `${EXEC} && k8s.namespace.name == "nowhere"`);
  const pod = await runtime.runPod('late-1', 'shop');
  relay.hold();
  const mark = `late-${process.pid}`;
  const script = `while :; do /bin/busybox true ${mark}; sleep 0.2; done`;
  const id = await runtime.run(pod, 'late', ['/bin/busybox', 'sh', '-c', script]);
  const event = await observer.sees(({ process }) => process?.commandArgs?.at(-1) === mark);
  assert.deepEqual(event.container, { id, unresolved: true });
  assert.equal(event.k8s, undefined);
  relay.release();
  const named = await bus.follow('--topic', 'process', '--filter', `${EXEC} && container.name == "late"`);
  await named.sees(({ container }) => container?.name === 'late');
  await Promise.all([observer, named].map((each) => each.stop('SIGINT')));
});
