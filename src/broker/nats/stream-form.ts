/**
 * What a stream of a cluster must be, and whether it is. Only `backplane cluster init` makes streams. One that was lost is
 * never made again by itself: brokers would take the loss of everything for an empty log.
 */
import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { BackplaneError } from '../../errors.js';

/** As `cluster init` makes it. */
export type StreamForm = Partial<StreamConfig> & { readonly name: string };

/** Durations in JetStream's settings are nanoseconds, as numbers. */
export const NATS_NS_PER_MS = 1_000_000;
/** Of what is stored: a broker refuses streams of another version. */
const VERSION = '1';
const IDENTITY = 'backplane.identity';
const VERSIONED = 'backplane.version';
/** What `cluster set` may change. */
const BOUNDS = ['max_bytes', 'max_age', 'num_replicas'] as const;
const NO_CONSTANTS: ReadonlySet<string> = new Set([...BOUNDS, 'name', 'metadata']);

/** Of a stream to which brokers append, and from which only retention takes. */
export interface AppendedBounds {
  readonly bytesMax: number;
  readonly ageMsMax: number;
  readonly replicas: number;
}

/** @param bounds undefined where they may be any */
export function appendedForm(name: string, subjects: string, bounds: AppendedBounds | undefined): StreamForm {
  return {
    name,
    subjects: [subjects],
    retention: 'limits',
    storage: 'file',
    discard: 'old',
    max_msgs: -1,
    max_msgs_per_subject: -1,
    deny_delete: true,
    deny_purge: true,
    allow_rollup_hdrs: false,
    ...(bounds && {
      max_bytes: bounds.bytesMax,
      max_age: bounds.ageMsMax * NATS_NS_PER_MS,
      num_replicas: bounds.replicas,
    }),
  };
}

/** The same one again is no error. Rejects where there is another of that name. @param identity of the cluster, 16 hex digits */
export async function makeStream(manager: JetStreamManager, form: StreamForm, identity: string): Promise<void> {
  const metadata = { [IDENTITY]: identity, [VERSIONED]: VERSION };
  await manager.streams.add({ ...form, metadata });
}

/** Changes the bounds of a stream, and nothing else. */
export async function boundStream(manager: JetStreamManager, form: StreamForm): Promise<void> {
  const bounds = Object.fromEntries(BOUNDS.flatMap((key) => (form[key] === undefined ? [] : [[key, form[key]]])));
  await manager.streams.update(form.name, bounds);
}

/** The cluster's identity. Throws failed_precondition, in one sentence, where the stream is not as it was made. */
export function checkStream(form: StreamForm, { config }: StreamInfo): string {
  const [difference] = differences(form, config);
  if (difference !== undefined) {
    throw new BackplaneError('failed_precondition', `stream ${form.name} is not as it was made: ${difference}`);
  }
  return identityOf(config)!;
}

/** Undefined where the stream is not of this project. */
export function identityOf({ metadata }: StreamConfig): string | undefined {
  const identity = metadata?.[IDENTITY] ?? '';
  return /^[0-9a-f]{16}$/.test(identity) ? identity : undefined;
}

/** What is not as `cluster init` makes it, a sentence each. Bounds may be any. */
export function differences(form: StreamForm, config: StreamConfig): string[] {
  const found: string[] = [];
  if (identityOf(config) === undefined) found.push(`its metadata has no ${IDENTITY}`);
  const version = config.metadata?.[VERSIONED];
  if (version !== VERSION) found.push(`its ${VERSIONED} is ${version ?? 'not there'}, this is ${VERSION}`);
  for (const [key, wanted] of Object.entries(form)) {
    if (NO_CONSTANTS.has(key)) continue;
    // Servers leave out what is false.
    const [is, must] = [config[key as keyof StreamConfig] ?? false, wanted].map((value) => JSON.stringify(value));
    if (is !== must) found.push(`its ${key} is ${is}, it must be ${must}`);
  }
  if (!(config.max_bytes > 0)) found.push('it has no max_bytes: it would fill the disk, after which NATS stops');
  return found;
}

/** What a broker says before it ends. */
export function goneText(stream: string): string {
  return `stream ${stream} is gone. It is not made again: what it held is lost, unless it is restored`;
}
