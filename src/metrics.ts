/**
 * The metrics of one process, in a registry of its own. Names begin with
 * backplane_ and use base units; labels have values from closed sets only
 * (topics), never names of nodes, processes or subscriptions.
 */
import { readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** A value that is counted elsewhere, and read only when the metrics are requested. */
export interface Reading {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  /** The label's name, or several, when there are values by label. */
  readonly label?: string | readonly string[];
  readonly read: () => number | Iterable<readonly [labelValues: string | readonly string[], value: number]>;
}

/** `histograms`: made with histogramOf(). */
export function createMetrics(readings: readonly Reading[], histograms: readonly Histogram[] = []): Registry {
  const registry = new Registry();
  for (const reading of [...processReadings(), ...readings]) addReading(registry, reading);
  for (const histogram of histograms) registry.registerMetric(histogram);
  return registry;
}

/**
 * The text of the metrics for whoever asks, as they are after the question. It is made so often at most, and once for all
 * who ask meanwhile: anybody may.
 */
export function pacedMetrics(registry: Registry, intervalMs: number): () => Promise<Buffer> {
  let madeMs = Number.NEGATIVE_INFINITY;
  let next: Promise<Buffer> | undefined;
  const make = async () => {
    await sleep(Math.max(0, madeMs + intervalMs - performance.now()));
    next = undefined;
    madeMs = performance.now();
    return Buffer.from(await registry.metrics());
  };
  return () => (next ??= make());
}

/** In no registry yet. `bounds` in the unit that the name has last. */
export function histogramOf(name: string, help: string, bounds: readonly number[]): Histogram {
  return new Histogram({ name: `backplane_${name}`, help, buckets: [...bounds], registers: [] });
}

/**
 * The usual metrics of a process under their usual names. The library's own set samples the loop's delay every 10 ms,
 * which would be most of what an idle broker does; the time in which the loop was at work costs nothing.
 */
function processReadings(): Reading[] {
  return [
    {
      name: 'process_cpu_seconds_total',
      help: 'CPU time of the process, user and system.',
      type: 'counter',
      read: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    {
      name: 'process_start_time_seconds',
      help: 'When the process started, seconds since 1970.',
      type: 'gauge',
      read: () => performance.timeOrigin / 1000,
    },
    {
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the process.',
      type: 'gauge',
      read: () => process.memoryUsage.rss(),
    },
    {
      name: 'process_open_fds',
      help: 'Open file descriptors of the process; 0 without /proc.',
      type: 'gauge',
      read: openDescriptors,
    },
    {
      name: 'nodejs_heap_size_used_bytes',
      help: 'JavaScript heap in use.',
      type: 'gauge',
      read: () => process.memoryUsage().heapUsed,
    },
    {
      name: 'nodejs_external_memory_bytes',
      help: 'Memory outside of the JavaScript heap that JavaScript holds, such as buffers.',
      type: 'gauge',
      read: () => process.memoryUsage().external,
    },
    {
      name: 'nodejs_eventloop_active_seconds_total',
      help: 'Time in which the event loop was at work: its rate is the share of the time, 0 to 1.',
      type: 'counter',
      read: () => performance.eventLoopUtilization().active / 1000,
    },
  ];
}

function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

function addReading(registry: Registry, { name, help, type, label, read }: Reading): void {
  const labelNames = label === undefined ? [] : [label].flat();
  const configuration = { name: `backplane_${name}`, help, labelNames, registers: [registry] };
  if (type === 'gauge') {
    const gauge = new Gauge({
      ...configuration,
      collect() {
        // What is no longer there must not stay at its last value.
        if (labelNames.length > 0) gauge.reset();
        each(read(), labelNames, (labels, value) => gauge.set(labels, value));
      },
    });
    return;
  }
  const counter = new Counter({
    ...configuration,
    collect() {
      counter.reset();
      each(read(), labelNames, (labels, value) => counter.inc(labels, value));
    },
  });
}

function each(
  value: ReturnType<Reading['read']>,
  labelNames: readonly string[],
  set: (labels: Record<string, string>, value: number) => void,
): void {
  if (typeof value === 'number') set({}, value);
  else for (const [labels, each] of value) set(labelled(labelNames, [labels].flat()), each);
}

function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
}
