/**
 * The first exec of new containers, followed by a filter on their pods' namespace: how many are missed, how many come
 * without names, how many of other namespaces come though their names were known. Real pods of Debian's containerd.
 *
 *   node dist/bench/scenarios/first-exec.js [containers, 1000] [at a time, 4]
 */
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bus } from '../../test/harness/bus/bus.js';
import { Containerd, cannotRunPods, type Pod } from '../../test/harness/containers/containerd.js';
import { report, round } from '../measuring/report.js';

const count = Number(process.argv[2] ?? 1_000);
const atOnce = Number(process.argv[3] ?? 4);
/** Every so many containers a pod; the pod of every fourth is of the other namespace. */
const PER_POD = 10;
const OTHERS = 4;
/** Where nothing came for so long, nothing comes any more. */
const STILL_MS = 20_000;

const why = cannotRunPods();
if (why) throw new Error(why);
const runtime = await Containerd.start();
const bus = await Bus.start({ BACKPLANE_AGENT_CONTAINERS: runtime.socket, BACKPLANE_AGENT_GUARD_CPU: '0' });
const wanted = new Set<string>();
const others = new Set<string>();
const startMs = performance.now();
try {
  const observer = await bus.follow(
    ...['--topic', 'process', '--filter', 'event.type == "process.exec" && k8s.namespace.name == "wanted"'],
  );
  let made = 0;
  const oneOf = async (pod: Pod, isOther: boolean) => {
    made += 1;
    const mark = `first-${process.pid}-${made}`;
    const id = await runtime.run(pod, mark, ['/bin/busybox', 'true', mark]);
    (isOther ? others : wanted).add(id);
    // What ran is removed, so that thousands fit a small disk.
    await sleep(500);
    await runtime.removeContainer(id).catch(() => undefined);
  };
  let pods = 0;
  const lane = async () => {
    while (wanted.size < count) {
      const isOther = pods % OTHERS === OTHERS - 1;
      pods += 1;
      const pod = await runtime.runPod(`pod-${pods}`, isOther ? 'other' : 'wanted');
      for (let at = 0; at < PER_POD && wanted.size < count; at += 1) await oneOf(pod, isOther);
      await runtime.removePod(pod.id);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  const tookMs = performance.now() - startMs;
  // The program ends at once, so that nobody may have read its arguments: each container is known by its id.
  const first = new Map<string, (typeof observer.events)[number]>();
  const take = () => {
    for (const event of observer.events.splice(0)) {
      const { container, process: of } = event;
      if (of?.executable?.path.endsWith('/busybox') && container && !first.has(container.id))
        first.set(container.id, event);
    }
    return [...wanted].flatMap((id) => first.get(id) ?? []);
  };
  let seen = take();
  for (let stillMs = 0; seen.length < wanted.size && stillMs < STILL_MS; ) {
    await sleep(500);
    const before = first.size;
    seen = take();
    stillMs = first.size === before ? stillMs + 500 : 0;
  }
  const passed = [...others].flatMap((id) => first.get(id) ?? []);
  report(
    `the first exec of ${wanted.size} new containers in ${pods} new pods, filtered by namespace`,
    [
      {
        containers: wanted.size,
        missed: wanted.size - seen.length,
        'without names': seen.filter(({ container }) => container?.unresolved).length,
        'of the other namespace': others.size,
        'that passed without names': passed.filter(({ container }) => container?.unresolved).length,
        'that passed with names': passed.filter(({ container }) => !container?.unresolved).length,
        'containers a second': round((wanted.size + others.size) / (tookMs / 1000), 1),
        target: '0 missed',
      },
    ],
    {
      atOnce,
      seconds: round(tookMs / 1000, 1),
      load: loadavg().map((each) => round(each, 1)),
      gaps: observer.gaps.map(({ reason, events }) => `${events} ${reason}`),
    },
  );
  await observer.stop('SIGINT');
} finally {
  await bus.destroy();
  await runtime.stop();
}
process.exit(0);
