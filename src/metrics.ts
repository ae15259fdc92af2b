/**
 * The metrics of one process, in a registry of its own. Names begin with
 * backplane_ and use base units; labels have values from closed sets only
 * (topics), never names of nodes, processes or subscriptions.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** A value that is counted elsewhere, and read only when the metrics are requested. */
export interface Reading {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  /** The label's name, when there are values by label. */
  readonly label?: string;
  readonly read: () => number | Iterable<readonly [labelValue: string, value: number]>;
}

export function createMetrics(readings: readonly Reading[]): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'backplane_' });
  for (const reading of readings) addReading(registry, reading);
  return registry;
}

function addReading(registry: Registry, { name, help, type, label, read }: Reading): void {
  const labelNames = label === undefined ? [] : [label];
  const configuration = { name: `backplane_${name}`, help, labelNames, registers: [registry] };
  if (type === 'gauge') {
    const gauge = new Gauge({
      ...configuration,
      collect: () => each(read(), label, (labels, value) => gauge.set(labels, value)),
    });
    return;
  }
  const counter = new Counter({
    ...configuration,
    collect() {
      counter.reset();
      each(read(), label, (labels, value) => counter.inc(labels, value));
    },
  });
}

function each(
  value: ReturnType<Reading['read']>,
  label: string | undefined,
  set: (labels: Record<string, string>, value: number) => void,
): void {
  if (typeof value === 'number') set({}, value);
  else for (const [labelValue, each] of value) set({ [label ?? 'value']: labelValue }, each);
}
